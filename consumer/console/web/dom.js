// Elements from data. A text becomes a text node, whatever it holds: nothing here makes markup of a string.

// Attributes by name; a function is a listener; true is an attribute without a value; false, null and undefined are none.
export function h(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  add(node, children);
  return node;
}

function add(node, children) {
  for (const child of children) {
    if (Array.isArray(child)) add(node, child);
    else if (child instanceof Node) node.append(child);
    else if (child !== null && child !== undefined && child !== false) node.append(String(child));
  }
}

// Characters that are not seen, or that turn the order of others round.
const UNSEEN = /([\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\ufff9-\ufffb]|[\ud800-\udfff](?![\udc00-\udfff]))/u;

// An id, or another text of a record. It stands apart from the text around it, even if it is written from right to left, and
// what would be unseen in it is written out, so that no two ids look alike because of that.
export const id = (text) => h("bdi", { class: "id" }, text.split(UNSEEN).map((piece, i) =>
  (i % 2 ? h("span", { class: "unseen-character" }, `U+${piece.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`) : piece)));

let labels = 0;

// columns: [{head, cell: row => child, number: true for figures, wide: true for long texts}]
export function table(caption, columns, rows, { empty, rowClass, visibleCaption = false } = {}) {
  if (rows.length === 0) return h("p", { class: "empty" }, empty);
  const kind = (column) => [column.number && "number", column.wide && "wide"].filter(Boolean).join(" ") || null;
  return h("table", { role: "table" },
    h("caption", { class: visibleCaption ? null : "unseen" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" },
      columns.map((column) => h("th", { scope: "col", role: "columnheader", class: kind(column) }, column.head)))),
    h("tbody", { role: "rowgroup" }, rows.map((row) => h("tr", { role: "row", class: rowClass?.(row) ?? null },
      columns.map((column) => h("td", { role: "cell", class: kind(column), "data-head": column.head }, column.cell(row)))))));
}

// A part of a page with a heading, which names it.
export function section(title, ...children) {
  const name = `part-${++labels}`;
  return h("section", { class: "card", "aria-labelledby": name }, h("h2", { id: name }, title), children);
}

export const tile = (name, value, more, kind) =>
  h("div", { class: `tile ${kind ?? ""}` }, h("dt", null, name), h("dd", null, value, more && h("small", null, more)));

export const tiles = (...list) => h("dl", { class: "tiles" }, list);

export const badge = (text, kind) => h("span", { class: `badge ${kind ?? ""}` }, text);

// A label with its control.
export const field = (label, control) => h("label", { class: "field" }, h("span", null, label), control);

export function select(name, options, chosen) {
  return h("select", { name }, options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
}

// What a form holds, without what is empty.
export function values(form) {
  return Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()])
    .filter(([, value]) => value !== ""));
}

// A bar of parts, each a share of 1, beside a text that says the same.
export function bar(parts) {
  return h("span", { class: "bar", "aria-hidden": "true" }, parts.map(([share, kind]) => {
    const part = h("span", { class: kind });
    part.style.inlineSize = `${Math.max(0, Math.min(1, share)) * 100}%`;
    return part;
  }));
}
