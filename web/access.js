// The key the service may ask for: a dialog to enter it, and a line in the foot of the page to forget it.

import { hasKey, setKey } from "./api.js";
import { byId, say } from "./dom.js";

const KEY_FORM = /^[A-Za-z0-9._~+/-]+=*$/;

export function prepareAccess() {
  const dialog = byId("key");
  const field = byId("key-field");
  const fault = byId("key-fault");
  // Whoever does not want to give a key now is not asked again by what goes on in the background.
  let declined = false;

  const complain = (text) => {
    fault.textContent = text;
    fault.hidden = text === "";
    field.setAttribute("aria-invalid", String(text !== ""));
  };
  const showState = () => { byId("key-state").hidden = !hasKey(); };

  document.addEventListener("keyneeded", ({ detail: { reason, byReader } }) => {
    showState();
    if (byReader) declined = false;
    if (dialog.open || declined) return;
    complain(reason);
    dialog.showModal();
  });
  dialog.addEventListener("close", () => { field.value = ""; });
  dialog.addEventListener("cancel", () => { declined = true; });
  byId("key-later").addEventListener("click", () => {
    declined = true;
    dialog.close();
  });
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const value = field.value.trim();
    if (!KEY_FORM.test(value)) {
      complain("That is no key: keys are made of letters, digits and a few signs, without spaces.");
      field.select();
      return;
    }
    declined = false;
    dialog.close();
    setKey(value);
  });
  byId("key-forget").addEventListener("click", () => {
    declined = true;
    setKey(null);
    say("The key is forgotten");
  });
  document.addEventListener("keychange", showState);
  showState();
}
