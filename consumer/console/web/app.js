// The frame of all pages: where one is (the address behind #), language, token, and when a page is asked for again.
import { Problem, get, token } from "./api.js";
import { field, h, id } from "./dom.js";
import { learnServices, time } from "./format.js";
import { link, parse } from "./routes.js";
import { language, setLanguage, t } from "./texts.js";
import { account } from "./view_account.js";
import { accounts } from "./view_accounts.js";
import { days } from "./view_days.js";
import { deductions } from "./view_deductions.js";
import { deployment } from "./view_deployment.js";
import { overview } from "./view_overview.js";
import { quote } from "./view_quote.js";
import { rejects } from "./view_rejects.js";
import { settlement } from "./view_settlement.js";
import { statement } from "./view_statement.js";

const REFRESH_MS = 5000;

// How a page is found by its address; a null stands for any segment, which the page is given.
const PAGES = [
  { path: [], name: "overview", show: overview, live: true },
  { path: ["accounts"], name: "accounts", show: accounts },
  { path: ["accounts", null], name: "accounts", show: account, live: true },
  { path: ["accounts", null, "settlements", null], name: "accounts", show: settlement },
  { path: ["accounts", null, "statement"], name: "accounts", show: statement },
  { path: ["accounts", null, "packages", null], name: "accounts", show: deductions },
  { path: ["quote"], name: "quote", show: quote },
  { path: ["rejects"], name: "rejects", show: rejects },
  { path: ["days"], name: "days", show: days },
  { path: ["deployment"], name: "deployment", show: deployment },
];
const NAVIGATION = ["overview", "accounts", "quote", "rejects", "days", "deployment"];

const top = document.getElementById("top"), main = document.getElementById("main"), foot = document.getElementById("foot");
let asking = null; // ends what is being asked for a page that nobody waits for any more
let scope = null; // what the token may see: {scope: "reader"}, {scope: "account", account_id}; null: not known
let live = true;

function findPage(place) {
  return PAGES.find((page) => page.path.length === place.segments.length &&
    page.path.every((segment, i) => segment === null || segment === place.segments[i]));
}

// ---- the token ----

function tokenForm() {
  const submit = (event) => {
    event.preventDefault();
    token.set(event.target.elements.token.value.trim());
    document.querySelector("dialog")?.remove();
    start();
  };
  return h("form", { class: "token", submit },
    field(t("token"), h("input", { name: "token", type: "password", autocomplete: "off", required: true })),
    h("p", { class: "hint" }, t("token.help")),
    h("button", null, t("token.set")));
}

function openToken() {
  const dialog = h("dialog", { "aria-label": t("token.title") }, h("h2", null, t("token.title")), tokenForm(),
    h("p", { class: "actions" },
      token.get() && h("button", { type: "button", class: "plain", click: () => { token.set(""); dialog.close(); start(); } }, t("token.forget")),
      h("button", { type: "button", class: "plain", click: () => dialog.close() }, t("close"))));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

// ---- the frame ----

function navigation(page) {
  const mine = scope?.account_id;
  const item = (to, name) => h("a", { href: to, "aria-current": page?.name === name ? "page" : null }, t(`nav.${name}`));
  const items = mine ? [h("a", { href: link(["accounts", mine]), "aria-current": page?.name === "accounts" ? "page" : null }, t("account")),
    item(link(["quote"]), "quote")]
    : NAVIGATION.map((name) => item(link(name === "overview" ? [] : [name]), name));
  return h("nav", { "aria-label": t("nav") }, items);
}

function finder() {
  const submit = (event) => {
    event.preventDefault();
    const wanted = event.target.elements.account.value;
    if (wanted) location.hash = link(["accounts", wanted]);
  };
  return h("form", { role: "search", class: "find", submit },
    h("input", { name: "account", "aria-label": t("find.label"), placeholder: t("find.label"), autocomplete: "off", spellcheck: "false" }),
    h("button", null, t("find")));
}

function drawFrame(page) {
  const other = language() === "zh" ? "en" : "zh";
  document.documentElement.lang = language() === "zh" ? "zh-CN" : "en";
  const change = () => { setLanguage(other); show(); document.getElementById("language").focus(); };
  top.replaceChildren(h("a", { class: "skip", href: "#main", click: (event) => { event.preventDefault(); main.focus(); } }, t("skip")),
    h("div", { class: "brand" }, h("a", { href: link([]) }, h("img", { src: "/console/icon.svg", alt: "", width: "28", height: "28" }), t("product")),
      scope?.account_id ? null : finder(),
      h("div", { class: "tools" },
        h("button", { type: "button", class: "plain", id: "language", lang: other === "zh" ? "zh-CN" : "en", click: change }, t("language")),
        h("button", { type: "button", class: "plain", click: openToken, title: token.get() ? t("token.have") : null }, t("token"), token.get() ? " ✓" : ""))),
    navigation(page));
  foot.replaceChildren(h("p", null, t("foot"), " ", h("a", { href: "/v1/openapi.json" }, t("foot.api"))));
}

function standing(page, place, found) {
  const toggle = h("input", { type: "checkbox", checked: live, change: (event) => { live = event.target.checked; } });
  const where = found.as_of;
  return h("div", { class: "standing" },
    where && h("p", null, t("as_of", { time: "" }), time(where.time),
      where.offsets && h("span", { class: "offsets" }, ` · ${t("as_of.shard", { shard: where.shard })} · ${t("as_of.offsets")} `,
        Object.entries(where.offsets).map(([topic, next], i) => [i ? ", " : "", id(topic), ` ${next}`])),
      "final_through" in found && h("span", null, " · ", found.final_through ? t("final_through", { day: found.final_through }) : t("final_none"))),
    h("p", { class: "actions" },
      page.live && h("label", { class: "live" }, toggle, t("refresh.live")),
      where && h("button", { type: "button", class: "plain", click: () => refresh() }, t("refresh"))));
}

// ---- what goes wrong ----

function problemCard(error) {
  if (!(error instanceof Problem)) throw error;
  const known = t(`problem.${error.kind || "other"}`, {}, error.title);
  return h("section", { class: "card problem", role: "alert" }, h("h1", null, known),
    error.detail && h("p", null, error.kind === "unreachable" ? null : error.detail),
    h("p", null, t(`remedy.${error.kind}`, {}, "")),
    error.kind === "unreachable" && h("pre", null, `curl --path-as-is '${location.origin}/v1/accounts/..'`),
    error.status === 401 ? tokenForm() : h("button", { type: "button", click: () => show() }, t("retry")));
}

// A token of one account may see that account alone: it is shown instead of what operators see.
async function askScope() {
  scope = null;
  try {
    scope = await get(["access"]);
  } catch {
    return; // the page that is asked for says what is wrong
  }
  const place = parse(location.hash);
  if (scope?.account_id && !["quote", "accounts"].includes(place.segments[0])) location.replace(link(["accounts", scope.account_id]));
}

// ---- showing ----

async function load(place) {
  asking?.abort();
  asking = new AbortController();
  const page = findPage(place);
  if (!page) throw new Problem({ type: "urn:settled:problem:not-found", title: "", detail: location.hash, status: 404 });
  return { page, found: await page.show(place, asking.signal) };
}

function put(page, place, found) {
  document.title = `${found.title} · settled`;
  main.replaceChildren(h("div", { class: "head" }, h("h1", null, found.heading ?? found.title), found.actions), standing(page, place, found), ...found.parts);
}

async function show() {
  const place = parse(location.hash);
  drawFrame(findPage(place));
  main.setAttribute("aria-busy", "true");
  main.replaceChildren(h("p", { class: "loading", role: "status" }, t("loading")));
  try {
    const { page, found } = await load(place);
    put(page, place, found);
  } catch (error) {
    if (error.name === "AbortError") return;
    main.replaceChildren(problemCard(error));
  }
  main.removeAttribute("aria-busy");
}

// The same page again: what is there stays until the new answer has come, and stays if none does.
async function refresh() {
  const place = parse(location.hash), top = scrollY;
  try {
    const { page, found } = await load(place);
    put(page, place, found);
    scrollTo(0, top);
  } catch (error) {
    if (error.name !== "AbortError") main.querySelector(".standing")?.replaceChildren(problemCard(error));
  }
}

// Nobody is interrupted who reads with the keyboard, has selected a text, or looks elsewhere.
function mayRefresh() {
  const page = findPage(parse(location.hash));
  const busy = main.contains(document.activeElement) && document.activeElement !== main;
  return live && page?.live && !document.hidden && !busy && getSelection().isCollapsed && !document.querySelector("dialog") &&
    !main.hasAttribute("aria-busy") && !main.querySelector(".problem");
}

async function start() {
  await askScope();
  const prices = await get(["prices"]).catch(() => null); // the page will say what is wrong
  if (prices) learnServices(prices);
  await show();
}

addEventListener("hashchange", async () => { await show(); scrollTo(0, 0); main.focus({ preventScroll: true }); });
setInterval(() => mayRefresh() && refresh(), REFRESH_MS);
start();
