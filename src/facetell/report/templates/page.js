"use strict";
// Sliders: one strength of the heat map for the whole page.
const sliders = document.querySelectorAll("[data-heat]");
for (const slider of sliders) {
  slider.addEventListener("input", () => {
    document.documentElement.style.setProperty("--heat", slider.value / 100);
    for (const other of sliders) other.value = slider.value;
  });
}
// Print: what is folded away is printed too, and folded again.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const part of opened) part.open = true;
});
addEventListener("afterprint", () => {
  for (const part of opened) part.open = false;
});
// Charts: the face nearest to the pointer, or the next one by arrow key, with its time, score and picture.
for (const chart of document.querySelectorAll("[data-chart]")) {
  const plot = chart.querySelector(".plot");
  const dots = [...chart.querySelectorAll(".dot")];
  const cursor = chart.querySelector(".cursor");
  const tip = chart.querySelector(".tip");
  const words = tip.querySelector("p");
  const picture = tip.insertBefore(new Image(72, 72), words);
  picture.alt = "";
  let at = -1;
  for (const dot of dots) dot.querySelector("title").remove(); // the tip says it, and more
  const show = (index) => {
    at = index;
    dots.forEach((dot, k) => dot.classList.toggle("on", k === index));
    cursor.classList.toggle("on", index >= 0);
    tip.hidden = index < 0;
    if (index < 0) return;
    const dot = dots[index];
    const x = dot.getAttribute("cx");
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    words.textContent = `P(fake) ${dot.dataset.p}\n${dot.dataset.time}${dot.dataset.note ? "\n" + dot.dataset.note : ""}`;
    const face = dot.dataset.face && document.getElementById(dot.dataset.face);
    picture.hidden = !face;
    if (face) picture.src = face.src;
    const pixels = (parseFloat(x) / 100) * plot.clientWidth;
    const right = pixels + 16 + tip.offsetWidth <= plot.clientWidth;
    tip.style.transform = `translate(${right ? pixels + 16 : Math.max(0, pixels - 16 - tip.offsetWidth)}px, 14px)`;
  };
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const share = (100 * (event.clientX - box.left)) / box.width;
    const far = dots.map((dot) => Math.abs(parseFloat(dot.getAttribute("cx")) - share));
    show(far.indexOf(Math.min(...far)));
  });
  plot.addEventListener("pointerleave", () => show(-1));
  chart.addEventListener("blur", () => show(-1));
  chart.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) show(Math.min(Math.max(at + step, 0), dots.length - 1));
    else if (event.key === "Escape") show(-1);
    else return;
    event.preventDefault();
  });
}
