"use strict";
// Names come from files of all kinds: they are put in as text, never as markup.

const report = JSON.parse(document.getElementById("report-data").textContent);
const byId = (id) => document.getElementById(id);

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const decimals = (value, count) => (value === null ? "–" : value.toFixed(count));
const className = (index) => report.classes[index].name;

// Labelled videos are keyframes with one person who fills the frame; only the words differ.
const isDetection = report.task === "detection";
const words = isDetection
  ? {
      items: "keyframes", none: "No such keyframe.", labels: "annotated actions", guesses: "detections",
      missed: "Annotated actions that no detection at the class's threshold finds; first those that nothing finds at all.",
      wrong: "Detections at or above the class's threshold (of a class without ground truth: the median of the others) that find nothing, the highest scores first.",
    }
  : {
      items: "videos", none: "No such video.", labels: "labels", guesses: "listed classes",
      missed: "Labels whose class scores below its threshold; first those that are not among the listed classes at all.",
      wrong: "Classes at or above their threshold (of a class without videos: the median of the others) that are no label of the video, the highest scores first.",
    };

function showWords() {
  for (const place of document.querySelectorAll("[data-word]")) place.textContent = words[place.dataset.word];
}

// ---- header ------------------------------------------------------------------------------------

function showHeader() {
  const summary = report.summary;
  const [first, value] = Object.entries(summary.metrics)[0];
  document.title = `${report.dataset}: ${first.split(" ")[0]} ${decimals(value, 4)}`;
  byId("title").textContent = report.dataset;
  byId("subtitle").textContent = `${isDetection ? "Detections" : "Predictions"} of ${report.detections}`;
  const facts = [
    ...Object.entries(summary.metrics).map(([name, value]) => [name, decimals(value, 4), summary.intervals[name]]),
    ["classes with ground truth", `${summary.num_classes_evaluated} of ${summary.num_classes}`],
    [`${words.items} (shown here)`, `${summary.num_keyframes} (${summary.num_keyframes_shown})`],
    [words.labels, summary.num_groundtruth],
    [`${words.guesses} that count`, summary.num_detections],
  ];
  for (const [name, value, interval] of facts) {
    const shown = element("dd", { textContent: value });
    if (interval) shown.append(element("small", { textContent: ` (${intervalWords(interval)})` }));
    byId("metrics").append(element("div", {}, element("dt", { textContent: name }), shown));
  }
  for (const warning of summary.warnings) byId("warnings").append(element("li", { textContent: warning }));
}

// ---- classes -----------------------------------------------------------------------------------

const intervalWords = ([low, high]) => `${low.toFixed(3)} to ${high.toFixed(3)}`;
const barKey = "accuracy" in report.classes[0] ? "accuracy" : "AP"; // the metric of the intervals
const columns = [
  { key: "drawn", title: "curve", text: true },
  { key: "id", title: "id" },
  { key: "name", title: "class", text: true },
  { key: "type", title: "type", text: true },
  { key: "accuracy", title: "accuracy", digits: 3, bar: true },
  { key: "taken_for", title: "taken for", text: true },
  { key: "AP", title: "AP", digits: 3, bar: true },
  { key: "num_groundtruth", title: isDetection ? "ground truth" : "videos" },
  { key: "num_detections", title: words.guesses },
  { key: "threshold", title: "threshold", digits: 3 },
  { key: "precision", title: "precision", digits: 3 },
  { key: "recall", title: "recall", digits: 3 },
  { key: "note", title: "note", text: true },
].filter(({ key }) => key === "drawn" || report.classes.some((row) => ![undefined, ""].includes(row[key])));
const drawn = new Set(
  report.classes.flatMap((row, index) => (row.AP === null ? [] : [index])).slice(0, 12),
);
const sorting = { key: "AP", descending: true };

function sortedClasses() {
  const value = (index) => (sorting.key === "drawn" ? Number(drawn.has(index)) : report.classes[index][sorting.key]);
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
  return [...report.classes.keys()].sort((i, j) => {
    const [a, b] = [value(i), value(j)];
    // Missing values come last in either direction.
    if (a === null || b === null) return Number(a === null) - Number(b === null) || i - j;
    return (sorting.descending ? compare(b, a) : compare(a, b)) || i - j;
  });
}

function sortBy(key) {
  const column = columns.find((candidate) => candidate.key === key);
  // Text is sorted from a, numbers from the highest; pressing again reverses the order.
  sorting.descending = sorting.key === key ? !sorting.descending : !column.text || key === "drawn";
  sorting.key = key;
  showClassRows();
}

function showClassHeadings() {
  const row = document.querySelector("#class-table thead tr");
  for (const column of columns) {
    const button = element("button", { type: "button", textContent: column.title, onclick: () => sortBy(column.key) });
    const heading = element("th", { scope: "col", className: column.text ? "text" : "" }, button);
    heading.dataset.key = column.key;
    row.append(heading);
  }
}

function showClassRows() {
  for (const heading of document.querySelectorAll("#class-table th")) {
    const sorted = heading.dataset.key === sorting.key;
    heading.setAttribute("aria-sort", sorted ? (sorting.descending ? "descending" : "ascending") : "none");
  }
  const wanted = byId("find-class").value.trim().toLowerCase();
  const all = byId("unlabelled").ariaPressed === "true";
  const shown = sortedClasses().filter((index) => {
    const { name, type, num_groundtruth } = report.classes[index];
    return (all || num_groundtruth) && `${name} ${type ?? ""}`.toLowerCase().includes(wanted);
  });
  document.querySelector("#class-table tbody").replaceChildren(...shown.map(classRow));
  byId("class-table").classList.toggle("without-notes", shown.every((index) => !report.classes[index].note));
  byId("class-count").textContent = `${shown.length} of ${report.classes.length} classes`;
}

function prepareClassControls() {
  const without = report.classes.filter((row) => !row.num_groundtruth);
  const detected = without.filter((row) => row.num_detections).length;
  const button = byId("unlabelled");
  button.hidden = !without.length;
  button.textContent = `Show ${without.length} without ${isDetection ? "ground truth" : "videos"} (${detected} with ${words.guesses})`;
  button.onclick = () => {
    button.ariaPressed = String(button.ariaPressed !== "true");
    showClassRows();
  };
  byId("find-class").oninput = showClassRows;
  if (report.classes.some((row) => row.interval)) {
    const source = isDetection ? " of AP, from resampled videos" : " of the accuracy";
    byId("interval-words").textContent = `The line in a bar is the 95 % interval${source}.`;
  }
}

function classRow(index) {
  const row = report.classes[index];
  const cells = columns.map((column) => {
    const cell = element("td", { className: column.text ? "text" : "" });
    cell.dataset.key = column.key;
    if (column.key === "drawn") {
      const box = element("input", { type: "checkbox", checked: drawn.has(index), disabled: row.AP === null });
      box.setAttribute("aria-label", `draw the curve of ${row.name}`);
      box.onchange = () => {
        if (box.checked) drawn.add(index);
        else drawn.delete(index);
        showCurves();
      };
      cell.append(box);
    } else {
      const value = row[column.key];
      cell.textContent = column.digits && value !== null ? value.toFixed(column.digits) : (value ?? "–");
      if (column.bar) {
        cell.classList.add("bar");
        cell.style.setProperty("--share", value ?? 0);
        if (column.key === barKey && row.interval) {
          const [low, high] = row.interval;
          cell.title = `95 % interval: ${intervalWords(row.interval)}`;
          cell.classList.add("interval");
          cell.style.setProperty("--low", low);
          cell.style.setProperty("--width", high - low);
        }
      }
    }
    return cell;
  });
  const made = element("tr", {}, ...cells);
  made.dataset.index = index;
  return made;
}

// ---- curves ------------------------------------------------------------------------------------

const plot = { left: 50, top: 12, width: 456, height: 356 };
const plotX = (recall) => plot.left + recall * plot.width;
const plotY = (precision) => plot.top + (1 - precision) * plot.height;
// Hues a golden angle apart stay distinct however many there are.
const curveColor = (index) => `hsl(${(index * 137.5) % 360} 65% 48%)`;

function curvePath(points) {
  if (!points.length) return "";
  let path = `M${plotX(0)} ${plotY(points[0][1])}`;
  for (const [recall, precision] of points) path += `V${plotY(precision).toFixed(1)}H${plotX(recall).toFixed(1)}`;
  return path;
}

function showCurves() {
  const box = byId("curve-plot");
  box.replaceChildren();
  for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
    box.append(
      svg("path", { class: "axis", d: `M${plotX(tick)} ${plotY(0)}V${plotY(1)}M${plotX(0)} ${plotY(tick)}H${plotX(1)}` }),
      svg("text", { x: plotX(tick), y: plotY(0) + 18, "text-anchor": "middle" }, String(tick)),
      svg("text", { x: plotX(0) - 6, y: plotY(tick) + 4, "text-anchor": "end" }, String(tick)),
    );
  }
  box.append(
    svg("text", { x: plotX(0.5), y: plotY(0) + 40, "text-anchor": "middle" }, "recall"),
    svg("text", { x: 0, y: 0, "text-anchor": "middle", transform: `translate(12 ${plotY(0.5)}) rotate(-90)` }, "precision"),
  );
  const legend = byId("curve-legend");
  legend.replaceChildren();
  const shown = [...drawn].sort((i, j) => report.classes[j].AP - report.classes[i].AP);
  for (const index of shown) {
    const row = report.classes[index];
    const words = `${row.name}: AP ${decimals(row.AP, 3)}`;
    const curve = svg("path", { class: "curve", d: curvePath(row.curve), stroke: curveColor(index) }, svg("title", {}, words));
    box.append(curve);
    const swatch = element("span", { className: "swatch" });
    swatch.style.background = curveColor(index);
    const entry = element("li", {}, swatch, words);
    entry.onmouseenter = () => curve.classList.add("strong");
    entry.onmouseleave = () => curve.classList.remove("strong");
    legend.append(entry);
  }
  if (!shown.length) legend.append(element("li", { textContent: "Tick classes in the table above." }));
}

function drawAll(wanted) {
  drawn.clear();
  if (wanted) report.classes.forEach((row, index) => row.AP !== null && drawn.add(index));
  showClassRows();
  showCurves();
}

// ---- a frame with boxes ------------------------------------------------------------------------

/** boxes: {box, kind: "truth" | "detection", lines, strong}. */
function frameView(keyframe, boxes, description) {
  const view = element("div", { className: "frame" });
  view.style.aspectRatio = `${keyframe.width} / ${keyframe.height}`;
  if (keyframe.image === null) {
    view.append(element("p", { className: "absent", textContent: keyframe.note }));
  } else {
    view.append(element("img", { src: keyframe.image, alt: description, loading: "lazy" }));
  }
  const drawing = svg("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" });
  view.append(drawing);
  for (const { box, kind, lines = [], strong = false } of boxes) {
    const [x1, y1, x2, y2] = box;
    const shape = { x: x1, y: y1, width: x2 - x1, height: y2 - y1, class: strong ? `${kind} strong` : kind };
    drawing.append(svg("rect", shape));
    if (!lines.length) continue;
    const label = element("div", { className: `label ${kind}` });
    label.append(...lines.map((line) => element("div", { textContent: line })));
    // Detections are named above their box, ground truth below, if there is room; otherwise inside. Never over the right edge.
    if (kind === "truth") Object.assign(label.style, y2 < 0.85 ? { top: `${100 * y2}%` } : { bottom: `${100 * (1 - y2)}%` });
    else Object.assign(label.style, y1 > 0.15 ? { bottom: `${100 * (1 - y1)}%` } : { top: `${100 * y1}%` });
    if (x1 > 0.6) label.style.right = `${100 * (1 - x2)}%`;
    else label.style.left = `${100 * x1}%`;
    view.append(label);
  }
  return view;
}

// ---- keyframe browser --------------------------------------------------------------------------

const browser = { list: [], place: 0 };

const keyframeTitle = (keyframe) => keyframe.video + (isDetection ? `  ${keyframe.second} s` : "");

function concerns(keyframe, index) {
  const named = (person) => person.actions.some(([action]) => action === index);
  const high = (person) => person.actions.some(([action, score]) => action === index && score >= minScore());
  return keyframe.truth.some(named) || keyframe.people.some(high);
}

const minScore = () => Number(byId("min-score").value);

function filterKeyframes() {
  const wanted = byId("filter-class").value;
  const video = byId("filter-video").value.trim().toLowerCase();
  const current = browser.list[browser.place];
  browser.list = [...report.keyframes.keys()].filter((number) => {
    const keyframe = report.keyframes[number];
    return (wanted === "" || concerns(keyframe, Number(wanted))) && keyframe.video.toLowerCase().includes(video);
  });
  browser.place = Math.max(0, browser.list.indexOf(current));
  const options = browser.list.map((number) => {
    const keyframe = report.keyframes[number];
    return new Option(keyframeTitle(keyframe) + (keyframe.clip === null ? "" : "  (clip)"), number);
  });
  byId("keyframe-list").replaceChildren(...options);
  showKeyframe();
}

function goTo(place) {
  browser.place = Math.min(Math.max(place, 0), browser.list.length - 1);
  showKeyframe();
}

function openKeyframe(number) {
  byId("filter-class").value = "";
  byId("filter-video").value = "";
  filterKeyframes();
  goTo(browser.list.indexOf(number));
  byId("keyframes").scrollIntoView();
  byId("keyframe-list").focus({ preventScroll: true });
}

function showKeyframe() {
  const keyframe = report.keyframes[browser.list[browser.place]];
  const empty = keyframe === undefined;
  byId("keyframe-count").textContent = empty ? words.none : `${browser.place + 1} of ${browser.list.length}`;
  byId("previous").disabled = empty || browser.place === 0;
  byId("next").disabled = empty || browser.place === browser.list.length - 1;
  byId("stage").replaceChildren();
  byId("persons").replaceChildren();
  stopClip();
  byId("clip-controls").hidden = empty || keyframe.clip === null;
  byId("note").textContent = empty || keyframe.image === null ? "" : keyframe.note;
  if (empty) return;
  byId("keyframe-list").value = String(browser.list[browser.place]);
  showBoxes();
}

function shownPeople(keyframe) {
  return keyframe.people
    .map((person) => ({ box: person.box, actions: person.actions.filter(([, score]) => score >= minScore()) }))
    .filter((person) => person.actions.length);
}

function showBoxes() {
  const keyframe = report.keyframes[browser.list[browser.place]];
  byId("min-score-value").textContent = minScore().toFixed(2);
  if (keyframe === undefined) return;
  const people = shownPeople(keyframe);
  const boxes = [];
  if (byId("show-detections").checked) {
    for (const { box, actions } of people) {
      const best = actions.slice(0, 3);
      boxes.push({ box, kind: "detection", lines: best.map(([a, score]) => `${className(a)} ${score.toFixed(2)}`) });
    }
  }
  // Dashed and on top: where both boxes are the same, both are seen.
  if (byId("show-truth").checked) {
    for (const { box, actions } of keyframe.truth) {
      boxes.push({ box, kind: "truth", lines: actions.map(([action]) => className(action)) });
    }
  }
  const description = keyframeTitle(keyframe) +
    (isDetection ? `: ${keyframe.truth.length} annotated, ${people.length} detected persons` : "");
  byId("stage").replaceChildren(frameView(keyframe, boxes, description));
  byId("persons").replaceChildren(
    ...keyframe.truth.flatMap(({ actions }, number) => personList(isDetection ? `Person ${number + 1}, annotated` : "Labels", "truth-key",
      actions.map(([action, score]) => ({ action, score, words: score === null ? "not found" : "found" })))),
    ...people.flatMap(({ actions }, number) => personList(isDetection ? `Detection ${number + 1}` : "Classes", "detection-key",
      actions.slice(0, 8).map(([action, score, hit]) => ({ action, score, words: hit ? "right" : "wrong" })))),
  );
}

function personList(title, kind, rows) {
  const entries = rows.map(({ action, score, words }) => {
    const bar = element("meter", { min: 0, max: 1, value: score ?? 0 });
    bar.setAttribute("aria-label", `score of ${className(action)}`);
    return element("li", {}, element("span", { textContent: className(action) }),
      element("span", { textContent: decimals(score, 2) }),
      bar, element("span", { textContent: words }));
  });
  return [element("h3", {}, element("span", { className: kind, textContent: title })), element("ul", {}, ...entries)];
}

// ---- clips -------------------------------------------------------------------------------------

function stopClip() {
  const video = byId("clip");
  video.pause();
  video.hidden = true;
  byId("stage").hidden = false;
  video.removeAttribute("src");
  byId("play").textContent = "Play clip";
}

function toggleClip() {
  const video = byId("clip");
  if (!video.hidden) {
    stopClip();
    return;
  }
  video.src = report.keyframes[browser.list[browser.place]].clip;
  video.hidden = false;
  byId("stage").hidden = true;
  byId("play").textContent = "Close clip";
  video.play().catch((error) => {
    byId("note").textContent = `This browser cannot play the clip (${error.message}).`;
  });
}

// ---- lists of mistakes -------------------------------------------------------------------------

const kinds = {
  nobody: "nobody is annotated there",
  action: isDetection ? "the person there does something else" : "the video shows something else",
  repeat: "a better detection has found this action",
};

function missWords(miss) {
  if (!isDetection && miss.score === null) return "not among the listed classes";
  if (miss.score !== null) return `found at ${miss.score.toFixed(3)}, below the threshold`;
  return miss.detected ? "a person was detected, this action was not" : "no detected box is near";
}

function card(item, kind, words) {
  const keyframe = report.keyframes[item.keyframe];
  const person = (kind === "truth" ? keyframe.truth : keyframe.people)[item.person];
  const boxes = [];
  if (isDetection) {
    const [others, otherKind] = kind === "detection" ? [keyframe.truth, "truth"] : [shownPeople(keyframe), "detection"];
    boxes.push(...others.map(({ box }) => ({ box, kind: otherKind })));
  }
  boxes.push({ box: person.box, kind, strong: true }); // on top of the others
  const title = className(item.class) + (kind === "detection" ? ` ${item.score.toFixed(3)}` : "");
  const button = element("button", { type: "button", textContent: `Show ${isDetection ? "keyframe" : "video"}`, onclick: () => openKeyframe(item.keyframe) });
  button.setAttribute("aria-label", `${button.textContent} ${keyframeTitle(keyframe)}`);
  return element("li", {},
    frameView(keyframe, boxes, `${title}, ${keyframeTitle(keyframe)}`),
    element("p", {}, element("strong", { textContent: title }), `: ${words}`),
    element("p", { className: "faint", textContent: keyframeTitle(keyframe) }),
    button,
  );
}

const CARDS = 10; // shown at once: images of hundreds would make the page slow

function showList(listId, name, items, kind, words) {
  const wanted = byId(`${name}-class`).value;
  const rest = items.filter((item) => wanted === "" || item.class === Number(wanted));
  const list = byId(listId);
  const more = byId(`more-${name}`);
  list.replaceChildren(...(rest.length ? [] : [element("li", { textContent: "None." })]));
  more.onclick = () => {
    list.append(...rest.splice(0, CARDS).map((item) => card(item, kind, words(item))));
    more.hidden = !rest.length;
  };
  more.onclick();
}

const showMisses = () => showList("miss-list", "misses", report.misses, "truth", missWords);
const showFalsePositives = () =>
  showList("false-positive-list", "false-positives", report.false_positives, "detection", (item) => kinds[item.kind]);

function fillClassSelect(id, indices, onchange) {
  const select = byId(id);
  select.append(new Option("all", ""), ...indices.map((index) => new Option(className(index), index)));
  select.onchange = onchange;
}

const classesOf = (items) => [...new Set(items.map((item) => item.class))].sort((i, j) => i - j);

// ---- start -------------------------------------------------------------------------------------

showWords();
showHeader();
prepareClassControls();
showClassHeadings();
showClassRows();
showCurves();
byId("curves-all").onclick = () => drawAll(true);
byId("curves-none").onclick = () => drawAll(false);

const usedClasses = report.classes.flatMap((row, index) => (row.num_groundtruth || row.num_detections ? [index] : []));
fillClassSelect("filter-class", usedClasses, filterKeyframes);
byId("filter-video").oninput = filterKeyframes;
// Shown at first: what reaches the median of the classes' thresholds.
const thresholds = report.classes.flatMap((row) => (row.threshold === null ? [] : [row.threshold])).sort((a, b) => a - b);
byId("min-score").value = thresholds.length ? thresholds[Math.floor(thresholds.length / 2)] : 0.5;
byId("min-score").oninput = showBoxes;
byId("min-score").onchange = filterKeyframes;
byId("show-truth").onchange = showBoxes;
byId("show-detections").onchange = showBoxes;
byId("keyframe-list").onchange = (event) => goTo(browser.list.indexOf(Number(event.target.value)));
byId("previous").onclick = () => goTo(browser.place - 1);
byId("next").onclick = () => goTo(browser.place + 1);
byId("play").onclick = toggleClip;
byId("keyframes").addEventListener("keydown", (event) => {
  if (event.target.closest("input, select, video")) return;
  if (event.key === "ArrowLeft") goTo(browser.place - 1);
  else if (event.key === "ArrowRight") goTo(browser.place + 1);
});
filterKeyframes();
fillClassSelect("misses-class", classesOf(report.misses), showMisses);
fillClassSelect("false-positives-class", classesOf(report.false_positives), showFalsePositives);
showMisses();
showFalsePositives();
