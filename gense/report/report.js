"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Tables: a press on a header sorts, another one turns the order round; what has no value stays at the end.
  const byText = new Intl.Collator(undefined, { numeric: true }).compare;
  function sort(header) {
    const body = header.closest("table").tBodies[0];
    const column = Number(header.dataset.column);
    const order = header.ariaSort === "ascending" ? "descending" : "ascending";
    const numeric = header.classList.contains("number");
    const sign = order === "ascending" ? 1 : -1;
    const keyed = [...body.rows].map((row) => [row.cells[column].dataset.key, row]);
    keyed.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      return sign * (numeric ? (Number(a) > Number(b)) - (Number(a) < Number(b)) : byText(a, b));
    });
    all("th[aria-sort]", header.closest("thead")).forEach((other) => other.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", order);
    body.append(...keyed.map(([, row]) => row));
  }
  all("th button").forEach((button) => button.addEventListener("click", () => sort(button.closest("th"))));

  // Plots: the dot that is pointed at is named, and its fellows in other plots and its row in the table are marked.
  function mark(element) {
    all(".on").forEach((other) => other.classList.remove("on"));
    all(`[data-row="${element.dataset.row}"]`).forEach((other) => other.classList.add("on"));
    const readout = element.closest("section").querySelector(".readout");
    if (readout && element.matches(".dot")) {
      readout.textContent = element.querySelector("title").textContent;
      readout.classList.add("set");
    }
  }
  for (const kind of ["pointerover", "click"]) {
    document.addEventListener(kind, (event) => {
      const element = event.target.closest("[data-row]");
      if (element) mark(element);
    });
  }
  all("svg.plot").forEach((plot) => plot.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const dots = all(".dot", plot);
    const now = dots.findIndex((dot) => dot.matches(".on"));
    mark(dots[now < 0 ? 0 : Math.min(Math.max(now + step, 0), dots.length - 1)]);
  }));

  // Players: one at a time; of the same file the next goes on where the last one was; a line shows the place.
  function show(example, audio) {
    for (const picture of all(".spectrogram", example)) {
      const line = picture.querySelector(".playhead");
      line.hidden = audio.currentTime === 0 && audio.paused;
      line.style.left = `${Math.min(audio.currentTime / Number(picture.dataset.seconds), 1) * 100}%`;
    }
  }
  function follow(example, audio) {
    show(example, audio);
    if (!audio.paused && !audio.ended) requestAnimationFrame(() => follow(example, audio));
  }
  const players = all(".example audio");
  for (const audio of players) {
    const example = audio.closest(".example");
    audio.addEventListener("play", () => {
      for (const other of players.filter((player) => player !== audio && !player.paused)) {
        if (example.contains(other) && other.currentTime < audio.duration) audio.currentTime = other.currentTime;
        other.pause();
      }
      follow(example, audio);
    });
    audio.addEventListener("seeked", () => { if (audio.paused) show(example, audio); });
    const picture = audio.closest("figure").querySelector(".spectrogram");
    if (picture) picture.addEventListener("click", (event) => {
      const place = event.offsetX / picture.clientWidth * Number(picture.dataset.seconds);
      all("audio", example).forEach((other) => other.pause());
      audio.currentTime = Math.min(place, audio.duration || 0);
      audio.play();
    });
  }
})();
