// What a search answers with, as cards: pictures in a grid, texts in a list; and what stands there while it is awaited.

import { askForKey, showPicture, thumbnailPath } from "./api.js";
import { el, icon, plural } from "./dom.js";

const percent = (relevance) => `${Math.round(Math.min(1, Math.max(0, Number(relevance) || 0)) * 100)}%`;

/** What a picture is called: its caption when it has one, else its id. */
export function nameOf(item) {
  if (item.modality === "text") return String(item.text ?? item.id);
  const caption = item.metadata?.caption;
  return typeof caption === "string" && caption.trim() !== "" ? caption : String(item.id);
}

/** A picture that is replaced by words when it cannot be shown. */
export function picture(path, alt, { size, lazy = false } = {}) {
  const img = el("img", { alt, width: size, height: size, decoding: "async", loading: lazy ? "lazy" : null });
  img.addEventListener("error", () => {
    img.replaceWith(el("span", { class: "no-picture" }, icon("picture"), el("span", { text: "Not available" }), el("span", { class: "hidden", text: alt })));
  }, { once: true });
  // Once it is placed, so that a picture that cannot be shown has something to be replaced in.
  queueMicrotask(() => showPicture(img, path));
  return img;
}

function scores(hit, tag = null) {
  if (hit.score === undefined) return null;
  const bar = el("span", { class: "bar-fill" });
  bar.style.setProperty("--share", percent(hit.relevance));
  return el("span", { class: "scores" },
    el("span", { class: "relevance", title: "Relevance: the score, calibrated for this model" },
      el("span", { class: "bar-track", "aria-hidden": "true" }, bar),
      el("span", { class: "relevance-figure", text: percent(hit.relevance) }, el("span", { class: "hidden", text: " relevant" }))),
    tag,
    el("span", { class: "score", title: "Raw cosine of the two embeddings" },
      el("span", { class: "hidden", text: "score " }), Number(hit.score).toFixed(3)));
}

const weakTag = (hit) => hit.weak_match ? el("span", { class: "weak-tag", text: "weak" }) : null;
const cardClass = (hit, kind, best) => ["card", kind, hit.weak_match && "weak", best && "best"].filter(Boolean).join(" ");

function pictureCard(hit, onOpen, best) {
  const name = nameOf(hit);
  return el("li", {},
    el("button", { class: cardClass(hit, "card-picture", best), type: "button", data: { id: hit.id }, on: { click: () => onOpen(hit) } },
      el("span", { class: "frame" }, picture(hit.thumbnail_url ?? thumbnailPath(hit.id), name, { size: 320, lazy: true }), weakTag(hit)),
      el("span", { class: "caption", text: name, "aria-hidden": "true" }),
      scores(hit)));
}

function textCard(hit, onOpen, best) {
  return el("li", {},
    el("button", { class: cardClass(hit, "card-text", best), type: "button", data: { id: hit.id }, on: { click: () => onOpen(hit) } },
      el("span", { class: "words", text: nameOf(hit) }), scores(hit, weakTag(hit))));
}

function list(hits, kind, onOpen, { bestId = null, minor = false } = {}) {
  const card = kind === "image" ? pictureCard : textCard;
  return el("ul", { class: (kind === "image" ? "grid" : "lines") + (minor ? " minor" : "") }, hits.map((hit) => card(hit, onOpen, hit.id === bestId)));
}

/** Hits, best first: the good ones, then the weak ones under a line of their own. */
export function hitsView(hits, kind, onOpen) {
  const good = hits.filter((hit) => !hit.weak_match);
  const weak = hits.filter((hit) => hit.weak_match);
  const view = el("div", { class: "hits" });
  if (good.length > 0) view.append(list(good, kind, onOpen, { bestId: hits[0].score === undefined ? null : good[0].id }));
  if (weak.length > 0) {
    view.append(good.length > 0
      ? el("p", { class: "divide" }, el("span", { text: "Weak matches from here" }))
      : el("p", { class: "no-good" }, el("b", { text: "No good match," }), " nearest shown."));
    view.append(list(weak, kind, onOpen, { minor: good.length > 0 }));
  }
  return view;
}

/** One sentence for the head of a list and for a screen reader. */
export function summary(hits, kind) {
  const noun = kind === "image" ? "picture" : "text";
  const good = hits.filter((hit) => !hit.weak_match).length;
  if (hits.length === 0) return `No ${noun}s`;
  if (good === 0) return `${plural(hits.length, noun)}, no good match`;
  return good === hits.length ? plural(good, noun) : `${plural(good, noun)}, ${plural(hits.length - good, "weak match", "weak matches")}`;
}

export function skeletons(kind, number) {
  const shape = kind === "image"
    ? () => [el("span", { class: "frame" }), el("span", { class: "bone" }), el("span", { class: "bone short" })]
    : () => [el("span", { class: "bone" }), el("span", { class: "bone short" })];
  return el("ul", { class: kind === "image" ? "grid" : "lines", "aria-hidden": "true" },
    Array.from({ length: number }, () => el("li", {}, el("span", { class: `card card-${kind === "image" ? "picture" : "text"} skeleton` }, shape()))));
}

export function emptyView(title, detail, action) {
  return el("div", { class: "empty" }, el("p", { class: "empty-title", text: title }), el("p", { text: detail }), action);
}

const keyButton = (text) => el("button", { class: "button primary", type: "button", text, on: { click: () => askForKey("", true) } });

function retryButton(error, onRetry) {
  const button = el("button", { class: "button", type: "button", text: "Try again", on: { click: onRetry } });
  let left = error.retryAfter ?? 0;
  const tick = () => {
    button.disabled = left > 0;
    button.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
    if (left-- > 0) setTimeout(tick, 1000);
  };
  tick();
  return button;
}

/** A failure in plain words, with what can be done about it. */
export function errorView(error, onRetry) {
  const known = error.title !== undefined;
  return el("div", { class: "error", role: "alert" },
    el("p", { class: "error-title", text: known ? error.title : "Something went wrong in this page" }),
    el("p", { class: "error-detail", text: known ? error.detail : String(error.message ?? error) }),
    error.requestId ? el("p", { class: "error-id" }, "Request ", el("code", { text: error.requestId })) : null,
    { 401: () => keyButton("Enter a key"), 403: () => keyButton("Use another key") }[error.status]?.() ?? retryButton(error, onRetry));
}
