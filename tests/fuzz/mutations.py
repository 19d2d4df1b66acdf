"""Ways in which a file goes wrong, by accident or by intent."""

from __future__ import annotations

from hypothesis import strategies as st

# Lengths, counts and offsets on the edges of what 8 to 64 bits hold
_EDGES = sorted(
    {0, 1, 2, 3, 7, 255, *(2**n + d for n in (7, 8, 15, 16, 23, 24, 31, 32, 36, 40, 62, 63, 64) for d in (-1, 0, 1))}
)


@st.composite
def mutated(draw: st.DrawFn, whole: bytes, *, header: int = 128) -> bytes:
    """A file with one to six changes, most of them in its first `header` bytes: edge values, bits, bytes that are
    left out, repeated, or moved in, and a cut."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 6))):
        if not content:
            break
        last = len(content) - 1
        at = draw(st.one_of(st.integers(0, min(header, last)), st.integers(0, min(header, last)), st.integers(0, last)))
        change = draw(st.sampled_from(["number", "number", "bytes", "bit", "drop", "repeat", "splice", "cut"]))
        if change == "number":
            width = draw(st.sampled_from([1, 2, 4, 8]))
            value = draw(st.sampled_from(_EDGES)) % 2 ** (8 * width)
            content[at : at + width] = value.to_bytes(width, draw(st.sampled_from(["little", "big"])))
        elif change == "bytes":
            new = draw(st.binary(min_size=1, max_size=16))
            content[at : at + len(new)] = new
        elif change == "bit":
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif change == "drop":
            del content[at : at + draw(st.integers(1, 64))]
        elif change == "repeat":
            content[at:at] = content[at : at + draw(st.integers(1, 64))] * draw(st.integers(1, 50))
        elif change == "splice":
            content[at:at] = draw(st.binary(min_size=1, max_size=32))
        else:
            del content[at:]
    return bytes(content)
