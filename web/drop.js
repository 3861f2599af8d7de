// Files that come by drop, by paste or from a folder.

import { byId } from "./dom.js";

const PICTURE_NAME = /\.(avif|bmp|gif|heic|heif|jfif|jpe?g|jp2|png|tiff?|webp)$/i;

/** Whether a file met in a folder is worth sending; a file somebody chose by hand is always sent. */
export const looksLikePicture = (file) =>
  !file.name.startsWith(".") && (file.type ? file.type.startsWith("image/") : PICTURE_NAME.test(file.name));

const fileOf = (entry) => new Promise((resolve, reject) => { entry.file(resolve, reject); });
const readSome = (reader) => new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });

async function* filesOf(entry) {
  if (entry.isFile) {
    yield await fileOf(entry);
    return;
  }
  const reader = entry.createReader();
  // A reader gives about a hundred entries at a time, and none at the end.
  for (let some = await readSome(reader); some.length > 0; some = await readSome(reader)) {
    for (const child of some) yield* filesOf(child);
  }
}

/** All files of a drop, folders opened: `{ files, skipped }`. Must be called within the drop event. */
export async function filesOfDrop(transfer) {
  const entries = [...transfer.items].filter(({ kind }) => kind === "file").map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const files = [];
  let skipped = 0;
  for (const entry of entries.filter(Boolean)) {
    if (entry instanceof File) {
      files.push(entry);
      continue;
    }
    for await (const file of filesOf(entry)) {
      if (entry.isFile || looksLikePicture(file)) files.push(file);
      else skipped += 1;
    }
  }
  return { files, skipped };
}

/**
 * Take files dropped or pasted anywhere. `onSearch(file)` gets one picture; `onAdd({ files, skipped })` any number.
 * While `adding()` is true, everything goes to `onAdd`.
 */
export function takeDrops({ onSearch, onAdd, adding }) {
  const overlay = byId("drop");
  const well = byId("add-well");
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0;

  const end = () => {
    depth = 0;
    overlay.hidden = true;
    well.classList.remove("over");
    for (const zone of overlay.children) zone.classList.remove("over");
  };

  document.addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth += 1;
    if (adding()) well.classList.add("over");
    else overlay.hidden = false;
  });
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    const over = event.target.closest?.("[data-drop]");
    for (const zone of overlay.children) zone.classList.toggle("over", zone === over);
  });
  document.addEventListener("dragleave", (event) => {
    if (!hasFiles(event)) return;
    depth -= 1;
    if (depth <= 0) end();
  });
  document.addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    const toAdd = adding() || event.target.closest?.("[data-drop]")?.dataset.drop === "add";
    end();
    const taken = await filesOfDrop(event.dataTransfer);
    if (taken.files.length === 0 && taken.skipped === 0) return;
    // Many pictures are no query.
    if (toAdd || taken.files.length !== 1) onAdd(taken);
    else onSearch(taken.files[0]);
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
    if (files.length === 0) return;
    event.preventDefault();
    if (adding()) onAdd({ files, skipped: 0 });
    else onSearch(files[0]);
  });
}
