// A command that a person runs in a shell; the console itself changes nothing.
import { h } from "./dom.js";
import { t } from "./texts.js";

export function commandBlock(line, label) {
  const code = h("code", null, line);
  const copy = async (event) => {
    const range = document.createRange();
    range.selectNodeContents(code);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    // Browsers let pages write to the clipboard on secure addresses only; else the line is selected, to be copied by hand.
    await navigator.clipboard?.writeText(line).then(() => { event.target.textContent = t("copied"); }, () => {});
  };
  return h("div", { class: "command" }, label && h("p", null, label),
    h("pre", null, code), h("button", { type: "button", class: "plain", click: copy }, t("copy")));
}
