// The sheet that adds pictures and texts to the collection. Uploads go on while it is closed.

import { ApiError, api } from "./api.js";
import { looksLikePicture } from "./drop.js";
import { byId, count, el, plural, say, sentence } from "./dom.js";
import { uploadImages } from "./upload.js";

const FAILURES_SHOWN = 200;
const TEXTS_PER_REQUEST = 100;

const failureLine = (name, reason) => el("li", {}, el("b", { text: name }), el("span", { text: sentence(reason) }));

/** The reasons for what failed, as a list that stays short enough to draw. */
function failureList(place) {
  const shown = byId(place);
  let number = 0;
  return {
    clear() {
      number = 0;
      shown.replaceChildren();
      shown.hidden = true;
    },
    add(name, reason) {
      number += 1;
      shown.hidden = false;
      if (number <= FAILURES_SHOWN) shown.append(failureLine(name, reason));
      else if (number === FAILURES_SHOWN + 1) shown.append(el("li", { text: `Only the first ${FAILURES_SHOWN} are listed.` }));
    },
  };
}

/** Wire the sheet. `onChanged()` is called whenever the collection may have grown, `onAdded()` once all is sent. */
export function prepareAdd({ onChanged, onAdded }) {
  const sheet = byId("add");
  const failures = failureList("add-failures");
  let waiting = [];
  let failed = [];
  let running = null;
  let announced = 0;

  const open = () => { if (!sheet.open) sheet.showModal(); };

  const note = (text) => {
    byId("add-note").textContent = text;
    byId("add-note").hidden = text === "";
  };

  const show = ({ done, total, indexed, unchanged, failed: wrong }) => {
    byId("add-progress-figures").textContent = `${count(done)} of ${count(total)}`;
    byId("add-progress-bar").max = Math.max(1, total);
    byId("add-progress-bar").value = done;
    byId("add-indexed").textContent = count(indexed);
    byId("add-unchanged").textContent = count(unchanged);
    byId("add-failed").textContent = count(wrong);
    byId("add-open-label").textContent = running ? `${count(done)} of ${count(total)}` : "Add";
    // Every tenth is enough for the ear.
    const tenth = Math.floor((done / Math.max(1, total)) * 10);
    if (running && tenth > announced) say(`${count(done)} of ${plural(total, "picture")} sent`);
    announced = tenth;
  };

  const captions = () => {
    const typed = byId("add-caption").value.trim();
    const names = byId("add-names").checked;
    return (file) => typed || (names ? file.name : "");
  };

  const finish = (progress, stopped) => {
    running = null;
    byId("add-progress-label").textContent = stopped ? "Stopped" : "Done";
    byId("add-cancel").hidden = true;
    byId("add-retry").hidden = failed.length === 0;
    show(progress);
    const outcome = [`${count(progress.indexed)} indexed`, `${count(progress.unchanged)} unchanged`, `${count(progress.failed)} failed`];
    say(`${stopped ? "Stopped" : "Done"}: ${outcome.join(", ")}`);
    onAdded();
    const next = waiting.shift();
    if (next && !stopped) start(next.files, next.captionOf);
  };

  const start = async (files, captionOf) => {
    running = new AbortController();
    const { signal } = running;
    announced = 0;
    failed = [];
    failures.clear();
    byId("add-progress").hidden = false;
    byId("add-progress-label").textContent = "Adding pictures";
    byId("add-cancel").hidden = false;
    byId("add-retry").hidden = true;
    let progress = { done: 0, total: files.length, indexed: 0, unchanged: 0, failed: 0 };
    show(progress);
    try {
      await uploadImages(files, {
        captionOf,
        signal,
        onProgress: (now) => {
          progress = now;
          note("");
          show(now);
          onChanged();
        },
        onFailure: (file, reason) => {
          failed.push(file);
          failures.add(file.webkitRelativePath || file.name, reason);
        },
        onWait: (seconds) => note(`The service is busy. Going on in ${seconds} s.`),
      });
    } catch (error) {
      failures.add("The upload", error.detail ?? error.message);
    }
    if (signal.aborted) {
      waiting = [];
      note(`${plural(progress.total - progress.done, "picture")} not sent.`);
    }
    finish(progress, signal.aborted);
  };

  const add = ({ files, skipped = 0 }) => {
    open();
    if (files.length > 0) {
      if (running) waiting.push({ files, captionOf: captions() });
      else start(files, captions());
    } else {
      byId("add-progress").hidden = true;
    }
    if (skipped > 0 || files.length === 0) {
      byId("add-progress").hidden = false;
      note(files.length === 0 ? "There is no picture in it." : `${plural(skipped, "file")} left out, not pictures.`);
    } else {
      note(waiting.length > 0 ? `${plural(waiting.reduce((sum, { files: more }) => sum + more.length, 0), "picture")} to follow.` : "");
    }
  };

  const chosen = (input, filter) => () => {
    const all = [...input.files];
    const files = all.filter(filter);
    input.value = "";
    if (all.length > 0) add({ files, skipped: all.length - files.length });
  };

  byId("add-open").addEventListener("click", open);
  byId("add-close").addEventListener("click", () => sheet.close());
  sheet.addEventListener("click", (event) => { if (event.target === sheet) sheet.close(); });
  byId("add-files").addEventListener("click", () => byId("add-files-input").click());
  byId("add-folder").addEventListener("click", () => byId("add-folder-input").click());
  byId("add-files-input").addEventListener("change", chosen(byId("add-files-input"), () => true));
  byId("add-folder-input").addEventListener("change", chosen(byId("add-folder-input"), looksLikePicture));
  byId("add-cancel").addEventListener("click", () => running?.abort());
  byId("add-retry").addEventListener("click", () => add({ files: failed }));
  window.addEventListener("beforeunload", (event) => { if (running) event.preventDefault(); });
  prepareTexts(onChanged);
  return { open, add, isOpen: () => sheet.open };
}

function prepareTexts(onChanged) {
  const field = byId("add-texts");
  const outcome = byId("add-texts-outcome");
  const button = byId("add-texts-submit");
  const failures = failureList("add-texts-failures");

  const submit = async () => {
    const texts = field.value.split("\n").map((line) => line.trim()).filter(Boolean);
    if (texts.length === 0) {
      outcome.textContent = "Write a text first.";
      field.focus();
      return;
    }
    button.disabled = true;
    failures.clear();
    const tally = { indexed: 0, unchanged: 0, failed: 0 };
    // What could not be added stays in the field, to be mended and sent again.
    const left = [];
    for (let at = 0; at < texts.length; at += TEXTS_PER_REQUEST) {
      const some = texts.slice(at, at + TEXTS_PER_REQUEST);
      outcome.textContent = `${count(at)} of ${count(texts.length)}`;
      let results;
      try {
        ({ results } = await api.indexTexts(some));
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        results = error.body?.results ?? some.map(() => ({ status: "failed", error }));
      }
      some.forEach((text, index) => {
        const { status, error } = results[index] ?? {};
        if (status === "indexed" || status === "unchanged") {
          tally[status] += 1;
          return;
        }
        tally.failed += 1;
        left.push(text);
        failures.add(text, error?.detail ?? error?.code ?? "The service gave no reason.");
      });
    }
    field.value = left.join("\n");
    outcome.textContent = Object.entries(tally).map(([name, number]) => `${count(number)} ${name}`).join(", ");
    button.disabled = false;
    onChanged();
  };

  byId("add-texts-form").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
}
