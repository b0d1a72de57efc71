// Asks a tool of the workspace over its stream and shows what comes. All text goes in by textContent: nothing that a
// document or a model says can become markup.

const at = (id) => document.getElementById(id);
const { authentication, header } = document.body.dataset;
const KEY = "sibyl-key";

let tools = [];
let running = null;

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function milliseconds(value) {
  return value >= 1000 ? `${(value / 1000).toFixed(2)} s` : `${value.toFixed(1)} ms`;
}

// --- what the server is asked with

function requestHeaders() {
  const key = at("key").value.trim();
  const headers = { "Content-Type": "application/json" };
  if (authentication !== "none" && key) headers[header] = authentication === "jwt" ? `Bearer ${key}` : key;
  return headers;
}

class Refused extends Error {
  constructor(status, body, retryAfter) {
    const error = body?.error ?? {};
    super(error.message ?? `The server answered with status ${status}.`);
    this.status = status;
    this.code = error.code ?? `status ${status}`;
    this.requestId = body?.request_id ?? null;
    this.retryAfter = retryAfter;
  }
}

async function refusal(response) {
  let body = null;
  try {
    body = await response.json();
  } catch {
    // A proxy in between answers as it likes.
  }
  return new Refused(response.status, body, response.headers.get("Retry-After"));
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const parts = rest.split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart());
      if (data.length) yield JSON.parse(data.join("\n"));
    }
  }
}

// --- the form

function tool() {
  return tools.find((one) => one.name === at("tool").value) ?? tools[0];
}

// The parameter that holds the question: `query`, else the first text that must be there.
function questionOf(one) {
  const names = Object.keys(one.parameters);
  const required = names.find((name) => one.parameters[name].required && one.parameters[name].type === "string");
  return names.includes("query") ? "query" : required;
}

function showParameters() {
  const one = tool();
  const others = Object.entries(one.parameters).filter(([name]) => name !== questionOf(one));
  at("parameters").replaceChildren(...others.map(([name, spec]) => {
    const row = element("div", "", "parameter");
    const label = element("label", name);
    label.htmlFor = `parameter-${name}`;
    const input = element("input");
    input.id = label.htmlFor;
    input.dataset.name = name;
    input.dataset.type = spec.type;
    if (spec.default !== undefined && spec.default !== null) input.placeholder = JSON.stringify(spec.default);
    row.append(label, input, element("div", spec.description ?? "", "hint"));
    return row;
  }));
  at("more").hidden = others.length === 0;
}

function givenArguments() {
  const given = { [questionOf(tool())]: at("question").value.trim() };
  for (const input of at("parameters").querySelectorAll("input")) {
    const text = input.value.trim();
    if (!text) continue;
    const { name, type } = input.dataset;
    if (type === "string") {
      given[name] = text;
      continue;
    }
    try {
      given[name] = JSON.parse(text);
    } catch {
      throw new Error(`${name} must be written as JSON (${type}), found: ${text}`);
    }
  }
  return given;
}

async function loadTools() {
  const response = await fetch("/mcp/tools", { headers: requestHeaders() });
  if (!response.ok) throw await refusal(response);
  tools = await response.json();
  if (!tools.length) throw new Error("This workspace offers no tool: see mcp.tools in its document.");
  at("tool").replaceChildren(...tools.map((one) => element("option", one.name)));
  at("tool-row").hidden = tools.length < 2;
  showParameters();
}

// --- what comes

function showFailure(error) {
  const parts = [element("strong", `${error.code ?? "error"}: `), element("span", error.message)];
  if (error.retryAfter) parts.push(element("span", ` Try again after ${error.retryAfter} s.`));
  if (error.requestId) parts.push(element("div", `Request ${error.requestId}`, "hint"));
  if (error.status === 401) {
    at("key-row").hidden = false;
    at("key").focus();
  }
  at("failure").replaceChildren(...parts);
  at("failure").hidden = false;
}

function showStages(stages) {
  const total = Math.max(...stages.map((stage) => stage.start_ms + stage.ms)) || 1;
  at("stages").replaceChildren(...stages.map((stage) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 100 1");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    bar.setAttribute("x", ((100 * stage.start_ms) / total).toFixed(2));
    bar.setAttribute("width", Math.max(0.4, (100 * stage.ms) / total).toFixed(2));
    bar.setAttribute("height", "1");
    svg.append(bar);
    const row = element("li");
    row.append(element("span", stage.stage), svg, element("span", milliseconds(stage.ms), "unit"));
    return row;
  }));
}

function showSources(sources) {
  at("sources").replaceChildren(...sources.map((source) => {
    const details = element("details");
    const place = [source.title || source.document, source.heading].filter(Boolean).join(" › ");
    const summary = element("summary", place || "Source");
    summary.append(element("span", ` ${Number(source.score).toFixed(3)}`, "unit"));
    details.append(summary, element("p", source.content ?? ""));
    if (source.document) details.append(element("div", source.document, "hint"));
    const item = element("li");
    item.append(details);
    return item;
  }));
  if (!sources.length) at("sources").replaceChildren(element("li", "None: nothing that was found fits.", "hint"));
}

function cacheText(metadata) {
  if (metadata.cache_kind !== "semantic") return metadata.cache;
  return `${metadata.cache}: the answer to “${metadata.answered_question}” (similarity ${metadata.similarity})`;
}

function showFacts(metadata) {
  const cost = metadata.cost_usd;
  const facts = {
    Time: milliseconds(metadata.execution_time_ms),
    Cache: cacheText(metadata),
    Tokens: String(metadata.tokens_used),
    Cost: cost === null ? "price not known" : `$${cost === 0 ? "0" : cost.toPrecision(2)}`,
    Request: metadata.request_id ?? "",
  };
  const fallbacks = Object.values(metadata.steps ?? {}).flatMap((step) => step.fallbacks ?? []);
  if (fallbacks.length) facts["Fell back"] = fallbacks.map((one) => `${one.from} → ${one.to ?? "nothing"}`).join(", ");
  at("facts").replaceChildren(...Object.entries(facts).map(([name, value]) => {
    const pair = element("div");
    pair.append(element("dt", name), element("dd", value));
    return pair;
  }));
}

function showWhole({ output, metadata }) {
  at("answer").textContent = output.answer ?? "This tool finds sources and writes no answer.";
  at("answer").classList.toggle("none", output.answer === null);
  showSources(output.sources ?? []);
  showFacts(metadata);
}

async function follow(response) {
  const stages = [];
  let ended = false;
  for await (const event of events(response)) {
    if (event.type === "stage") {
      stages.push(event);
      showStages(stages);
    } else if (event.type === "sources") {
      showSources(event.sources);
    } else if (event.type === "chunk") {
      at("answer").append(event.content);
    } else if (event.type === "metadata") {
      showWhole(event);
    } else if (event.type === "error") {
      throw new Refused(200, event, null);
    } else if (event.type === "end") {
      ended = true;
    }
  }
  if (!ended) throw new Error("The connection ended before the answer did.");
}

function busy(now) {
  at("send").disabled = now;
  at("stop").hidden = !now;
  at("answer").setAttribute("aria-busy", String(now));
}

async function ask() {
  if (running || !at("question").value.trim()) return;
  at("failure").hidden = true;
  running = new AbortController();
  busy(true);
  try {
    if (!tools.length) await loadTools();
    const body = JSON.stringify(givenArguments());
    for (const id of ["answer", "facts", "stages", "sources"]) at(id).replaceChildren();
    at("answer").classList.remove("none");
    at("result").hidden = false;
    const path = `/mcp/tools/${encodeURIComponent(tool().name)}/stream`;
    const response = await fetch(path, { method: "POST", headers: requestHeaders(), body, signal: running.signal });
    if (!response.ok) {
      at("result").hidden = true;
      throw await refusal(response);
    }
    await follow(response);
    if (authentication !== "none") sessionStorage.setItem(KEY, at("key").value);
  } catch (error) {
    if (error.name !== "AbortError") showFailure(error);
  } finally {
    running = null;
    busy(false);
  }
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
at("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    ask();
  }
});
at("stop").addEventListener("click", () => running?.abort());
at("tool").addEventListener("change", showParameters);
at("key").addEventListener("change", () => { tools = []; });

at("key-row").hidden = authentication === "none";
at("key").value = sessionStorage.getItem(KEY) ?? "";
if (authentication === "none" || at("key").value) loadTools().catch(showFailure);
