// The dialog that shows one item whole, with what can be done from there.

import { api, picturePath } from "./api.js";
import { nameOf, picture } from "./cards.js";
import { byId, el, icon, toast } from "./dom.js";

const shown = (value) => (Array.isArray(value) ? value.join(", ") : String(value));
const figure = (value) => Number(value).toFixed(4);

function factsOf(hit) {
  const rows = Object.entries(hit.metadata ?? {}).filter(([, value]) => value !== null);
  if (hit.score !== undefined) {
    rows.push(["score", figure(hit.score)], ["relevance", figure(hit.relevance) + (hit.weak_match ? ", a weak match" : "")]);
  }
  if (hit.created_at) rows.push(["added", new Date(hit.created_at).toLocaleString()]);
  rows.push(["id", hit.id]);
  return el("dl", { class: "detail-facts" },
    rows.map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", { text: shown(value) }))));
}

/** Deleting asks a second time in the same place, and says what went wrong there too. */
function removal(hit, onRemoved) {
  const noun = hit.modality === "text" ? "text" : "picture";
  const place = el("div", { class: "removal" });
  const ask = () => {
    const keep = el("button", { class: "button", type: "button", text: "Keep it", on: { click: () => { start(); place.querySelector("button").focus(); } } });
    const remove = el("button", { class: "button danger", type: "button", text: "Delete it", on: { click: () => run(remove) } });
    place.replaceChildren(el("p", { text: `Delete this ${noun}? It will not be found again.` }), el("div", { class: "removal-actions" }, remove, keep));
    keep.focus();
  };
  const run = async (button) => {
    button.disabled = true;
    try {
      await api.remove(hit.modality, hit.id);
    } catch (error) {
      if (error.status !== 404) {
        place.replaceChildren(
          el("p", { class: "removal-error", role: "alert", text: `${error.detail ?? error.message}${error.requestId ? ` Request ${error.requestId}.` : ""}` }),
          el("button", { class: "button", type: "button", text: "Try again", on: { click: ask } }));
        return;
      }
    }
    byId("detail").close();
    toast(noun === "text" ? "Text deleted" : "Picture deleted");
    onRemoved(hit);
  };
  const start = () => place.replaceChildren(
    el("button", { class: "button quiet", type: "button", on: { click: ask } }, icon("bin"), el("span", { text: "Delete" })));
  start();
  return place;
}

/**
 * Open the dialog on `hit`. `actions` holds `similar(hit)`, `texts(hit)`, `pictures(hit)` and `removed(hit)`.
 */
export function openDetail(hit, actions) {
  const dialog = byId("detail");
  const isText = hit.modality === "text";
  const name = nameOf(hit);
  const go = (action) => () => { dialog.close(); action(hit); };
  const button = (label, symbol, action, primary) =>
    el("button", { class: primary ? "button primary" : "button", type: "button", on: { click: go(action) } }, icon(symbol), el("span", { text: label }));
  const close = el("button", { class: "icon-button detail-close", type: "button", "aria-label": "Close", on: { click: () => dialog.close() } }, icon("close"));

  dialog.classList.toggle("detail-text", isText);
  dialog.setAttribute("aria-label", name);
  dialog.replaceChildren(
    close,
    isText ? "" : el("div", { class: "detail-picture" }, picture(hit.uri ?? picturePath(hit.id), name)),
    el("div", { class: "detail-side" },
      el("h2", { class: isText ? "detail-title detail-words" : "detail-title", text: name }),
      el("div", { class: "detail-actions" }, isText
        ? button("Pictures for this text", "picture", actions.pictures, true)
        : [button("Similar pictures", "picture", actions.similar, true), button("Matching texts", "text", actions.texts)]),
      factsOf(hit),
      removal(hit, actions.removed)));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

export function prepareDetail() {
  const dialog = byId("detail");
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => { if (!dialog.open) dialog.replaceChildren(); });
}
