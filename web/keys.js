// The keyboard: "/" to the box, arrows among the cards, Esc to stop a search or leave the box.

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** The nearest of `cards` that lies in the direction of `step` as seen from `from`; left and right run on over rows. */
function neighbour(cards, from, [right, down]) {
  if (right !== 0) return cards[cards.indexOf(from) + right];
  const here = from.getBoundingClientRect();
  let best;
  let least = Infinity;
  for (const card of cards) {
    const there = card.getBoundingClientRect();
    // Cards of one row overlap in height, whatever their captions and sizes; those of other rows do not.
    const ahead = down > 0 ? there.top - here.bottom : here.top - there.bottom;
    if (ahead < -1) continue;
    const distance = ahead + 3 * Math.abs(there.left + there.width / 2 - here.left - here.width / 2);
    if (distance < least) [best, least] = [card, distance];
  }
  return best;
}

const typing = (node) => node.closest?.("input, textarea, select, [contenteditable]") !== null;

/** `stop()` ends a running search and says whether there was one. */
export function prepareKeys({ field, main, stop }) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
    const { key, target } = event;
    const cards = [...main.querySelectorAll("button.card")];
    const step = STEPS[key];
    if (key === "/" && !typing(target)) {
      event.preventDefault();
      field.focus();
      field.select();
    } else if (key === "Escape") {
      if (!stop() && target === field) field.blur();
    } else if (key === "ArrowDown" && target === field && cards.length > 0) {
      event.preventDefault();
      cards[0].focus();
    } else if (step && cards.includes(target)) {
      event.preventDefault();
      const next = neighbour(cards, target, step) ?? (key === "ArrowUp" ? field : target);
      next.focus();
    }
  });
}
