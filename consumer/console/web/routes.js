// Addresses of pages: "#/accounts/a%2Fb/settlements/2026-11-01?x=y". What stands behind # never leaves the browser.

export function link(segments, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "" && value !== false);
  return "#/" + segments.map(encodeURIComponent).join("/") + (given.length ? `?${new URLSearchParams(given)}` : "");
}

function decoded(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment; // an escape that is none stands for itself
  }
}

export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  return { segments: path ? path.split("/").map(decoded) : [], query: Object.fromEntries(new URLSearchParams(query)) };
}
