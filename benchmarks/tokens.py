"""Time a token language model that remembers against one that reads everything anew for each token, in one run.

    python benchmarks/tokens.py --threads 1                  # a small model, 800 tokens from beginning to end
    python benchmarks/tokens.py --threads 1 --full           # the published size of the acoustic model, 165 M

The first table writes `--tokens` tokens after a prompt of `--prompt`. All rows hold the same synthetic weights and get
the same prompt and draws, and the run fails unless they write the same tokens. Repetitions go round the rows in turn,
so that other load on the machine falls on all of them alike; medians are compared. On a CPU with one thread the clock
is the processor's own, which stands still while other programs run. With --full the rows without memory would take
half an hour on a CPU: they are left out here, and their total is computed from the second table.

The second table is the cost of a single token after so many others. "published formulation" is the GPT-2 of
`transformers` called on the whole sequence for each token, with logits for every position; those rows are left out
where transformers is not installed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gense import samplers
from gense.backbones.causal_lm import Cache, CausalLM
from gense.checkpoints.gpt2_keys import convert_gpt2

SMALL = {"vocabulary": 1027, "dim": 128, "depth": 4, "heads": 4}
FULL = {"vocabulary": 9219, "dim": 1024, "depth": 12, "heads": 8}
Step = Callable[[Tensor, Any], tuple[Tensor, Any]]


@dataclass
class Row:
    """A way to get the logits of the next token, as `autoregressive` calls it, and what was measured."""

    name: str
    step: Step
    remembers: bool
    seconds: list[float] = field(default_factory=list)
    per_step: dict[int, float] = field(default_factory=dict)


def anew(read: Callable[[Tensor], Tensor]) -> Step:
    """The memory is the sequence itself."""

    def step(tokens: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        everything = tokens if memory is None else torch.cat([memory, tokens], dim=-1)
        return read(everything), everything

    return step


def random_weights(model: nn.Module) -> None:
    """N(0, 1 / dim) for matrices; what stands in norms and biases stays."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, parameter.shape[-1] ** -0.5, generator=generator)


def rows_of(size: dict[str, int], positions: int, device: torch.device) -> tuple[list[Row], int]:
    """All ways with equal weights, and the number of these."""
    model = CausalLM(**size, positions=positions, dropout=0.0).eval()
    random_weights(model)
    rows: list[Row] = []
    try:
        from transformers import GPT2Config, GPT2LMHeadModel
    except ImportError:
        print("transformers is not installed: its rows are left out")
    else:
        config = GPT2Config(
            vocab_size=size["vocabulary"], n_embd=size["dim"], n_layer=size["depth"], n_head=size["heads"],
            n_positions=positions, bos_token_id=None, eos_token_id=None,
        )  # fmt: skip
        theirs = GPT2LMHeadModel(config).eval()
        random_weights(theirs)
        model.load_state_dict(convert_gpt2({f"lm.{name}": value for name, value in theirs.state_dict().items()}))
        theirs.to(device)

        def published(tokens: Tensor) -> Tensor:
            return theirs(input_ids=tokens[:, 0], use_cache=False).logits[:, None, -1]

        def remembering(tokens: Tensor, memory: Any) -> tuple[Tensor, Any]:
            out = theirs(input_ids=tokens[:, 0], past_key_values=memory, use_cache=True, logits_to_keep=1)
            return out.logits[:, None, -1], out.past_key_values

        rows = [
            Row("published formulation: all anew", anew(published), False),
            Row("transformers with its memory", remembering, True),
        ]
    model.to(device)

    def ours(tokens: Tensor, memory: Cache | None) -> tuple[Tensor, Cache]:
        memory = memory or Cache(positions)
        return model.logits(model.hidden(tokens, cache=memory)[:, -1:])[:, :, 0], memory

    rows.insert(len(rows) // 2, Row("gense: all anew", anew(lambda all_: ours(all_, None)[0]), False))
    rows.append(Row("gense with its memory", ours, True))
    return rows, sum(parameter.numel() for parameter in model.parameters())


def timed(run: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    clock = time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    result = run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - start, result


def measure_whole(rows: list[Row], prompt: Tensor, tokens: int, repeats: int, device: torch.device) -> None:
    """Write the tokens in every way, in turn.

    Raises:
        SystemExit: two ways write different tokens.
    """
    first: Tensor | None = None
    for _ in range(repeats):
        for row in rows:
            # Few candidates, so that rounding does not decide which of two equally likely ones it is
            rule = samplers.multinomial(top_k=20)
            noise = samplers.by_frame(0)
            run = partial(samplers.autoregressive, row.step, prompt, tokens, noise=noise, choose=rule)
            seconds, out = timed(run, device)
            row.seconds.append(seconds)
            first = out if first is None else first
            if not torch.equal(out, first):
                same = int((out == first).all(1).all(0).cumprod(0).sum())
                raise SystemExit(f"{row.name}: other tokens than the first row after {same} of {tokens}")


def measure_steps(rows: list[Row], context: Tensor, lengths: list[int], repeats: int, device: torch.device) -> None:
    """The median cost of one token, the last of so many."""
    for length in lengths:
        for row in rows:
            memory = row.step(context[..., : length - 1], None)[1] if row.remembers else None
            tokens = context[..., length - 1 : length] if row.remembers else context[..., :length]
            # A memory has grown by a few tokens at the last repetition, which makes no difference
            step = partial(row.step, tokens, memory)
            seconds = [timed(step, device)[0] for _ in range(repeats)]
            row.per_step[length] = statistics.median(seconds)


def total(per_step: dict[int, float], first: int, tokens: int) -> float:
    """Seconds for `tokens` tokens after `first` others, by straight lines between the measured lengths."""
    known = sorted(per_step)
    seconds = 0.0
    for length in range(first, first + tokens):
        above = next((i for i, n in enumerate(known) if n >= length and i), len(known) - 1)
        low, high = known[above - 1], known[above]
        share = (length - low) / (high - low)
        seconds += (1 - share) * per_step[low] + share * per_step[high]
    return seconds


def show(rows: list[Row], titles: list[str], columns: list[list[float]]) -> None:
    print(f"{'':36s}" + "".join(f"{title:>22s}" for title in titles))
    for index, row in enumerate(rows):
        cells = (f"{column[index]:10.4f} s {column[0] / column[index]:7.1f}x" for column in columns)
        print(f"{row.name:36s}" + "".join(f"{cell:>22s}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of the CPU")
    parser.add_argument("--repeats", type=int, default=1, help="of the first table; the second takes 3 times as many")
    parser.add_argument("--tokens", type=int, default=800, help="how many are written")
    parser.add_argument("--prompt", type=int, default=100, help="how many are read before")
    parser.add_argument("--full", action="store_true", help="the published size instead of a small one")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    end = arguments.prompt + arguments.tokens
    with torch.inference_mode():
        rows, parameters = rows_of(FULL if arguments.full else SMALL, end + 100, device)
        place = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {arguments.threads} threads"
        print(f"{parameters / 1e6:.1f} M parameters, batch 1, float32, {place}, torch {torch.__version__}")
        generator = torch.Generator().manual_seed(1)
        context = torch.randint(3, 1027, (1, 1, end), generator=generator).to(device)

        whole = [row for row in rows if row.remembers or not arguments.full or device.type == "cuda"]
        measure_whole(whole, context[..., : arguments.prompt], arguments.tokens, arguments.repeats, device)
        print(f"\n{arguments.tokens} tokens after a prompt of {arguments.prompt}; all rows wrote the same tokens")
        show(whole, ["seconds, ratio"], [[statistics.median(row.seconds) for row in whole]])

        lengths = sorted({arguments.prompt, (arguments.prompt + end) // 2, arguments.tokens, end})
        measure_steps(rows, context, lengths, 3 * arguments.repeats, device)
        print("\nOne token, the last of so many")
        show(rows, [str(n) for n in lengths], [[row.per_step[n] for row in rows] for n in lengths])
        sums = [total(row.per_step, arguments.prompt, arguments.tokens) for row in rows]
        print(f"\n{arguments.tokens} tokens after a prompt of {arguments.prompt}, computed from these")
        show(rows, ["seconds, ratio"], [sums])


if __name__ == "__main__":
    main()
