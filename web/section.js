// A titled list of hits that asks, waits, shows, and asks for more.

import { isAbort } from "./api.js";
import { errorView, hitsView, skeletons, summary } from "./cards.js";
import { el, plural, say } from "./dom.js";

export const PAGE = 24;
const ANSWERS_KEPT = 60;

/** The latest answers by key. */
export class Answers extends Map {
  keep(key, answer) {
    this.set(key, answer);
    if (this.size > ANSWERS_KEPT) this.delete(this.keys().next().value);
  }
}

/**
 * A section of the page: `load()` fills `view`. `ask(page, signal)` answers with `results`, `note(answer)` may add a
 * line. Of the page come the `answers` already had, `signal()` of the search under way, `open(hit)`, and `nothing()`,
 * which makes what is shown when there is no hit.
 */
export function fillingSection({ key, title, kind, ask, note, placeholders = 12 }, { answers, signal, open, nothing }) {
  const body = el("div", { class: "section-body" });
  const line = el("p", { class: "section-line" });
  const heading = el("h2", { class: "section-title", text: title, tabindex: "-1" });
  const view = el("section", { class: `section section-${kind}`, data: { section: kind } },
    el("header", { class: "section-head" }, heading, line), body);

  let shown = null;
  const show = (found) => {
    shown = found;
    const { hits, more, millis, remark } = found;
    line.replaceChildren(el("span", { text: summary(hits, kind).replace(", no good match", "") }), millis === undefined ? "" : el("span", { class: "figures", text: `${millis} ms` }));
    body.replaceChildren(
      ...(remark ? [el("p", { class: "callout", text: remark })] : []),
      hits.length > 0 ? hitsView(hits, kind, open) : nothing());
    if (more) body.append(el("button", { class: "button more", type: "button", text: "Show more", on: { click: fetchMore } }));
  };

  const fetchPage = async (offset, stop) => {
    const started = performance.now();
    const answer = await ask({ n: PAGE, offset }, stop);
    return { answer, millis: Math.round(performance.now() - started) };
  };

  const load = async () => {
    if (answers.has(key)) return show(answers.get(key));
    const stop = signal();
    view.setAttribute("aria-busy", "true");
    line.textContent = "Searching";
    body.replaceChildren(skeletons(kind, placeholders));
    try {
      const { answer, millis } = await fetchPage(0, stop);
      const found = { hits: answer.results, more: answer.results.length === PAGE, millis, remark: note?.(answer) };
      answers.keep(key, found);
      show(found);
      say(`${title}: ${summary(found.hits, kind)}`);
    } catch (error) {
      if (isAbort(error) || stop.aborted) return undefined;
      line.textContent = "";
      body.replaceChildren(errorView(error, load));
    }
    view.removeAttribute("aria-busy");
    return undefined;
  };

  const fetchMore = async (event) => {
    const stop = signal();
    const before = shown;
    event.target.disabled = true;
    try {
      const { answer } = await fetchPage(before.hits.length, stop);
      const known = new Set(before.hits.map(({ id }) => id));
      const fresh = answer.results.filter(({ id }) => !known.has(id));
      const found = { ...before, hits: [...before.hits, ...fresh], more: answer.results.length === PAGE };
      answers.keep(key, found);
      show(found);
      say(`${title}: ${plural(fresh.length, "more result")}`);
      if (fresh.length > 0) [...body.querySelectorAll(".card")].find((card) => card.dataset.id === fresh[0].id)?.focus();
    } catch (error) {
      if (isAbort(error) || stop.aborted) return;
      event.target.replaceWith(errorView(error, () => load()));
    }
  };

  return { view, heading, load };
}
