// Reads a JSON list of LaTeX texts and prints a JSON list: null where KaTeX takes one in strict mode, else its complaint.
// maxExpand: the default stops at 1000 macros, which a long derivation has without any loop.
// NODE_PATH names the folder that holds the package katex.
"use strict";
const katex = require("katex");
const check = (tex) => {
  try {
    katex.renderToString(tex, {displayMode: true, throwOnError: true, strict: "error", maxExpand: 1e5});
    return null;
  } catch (error) {
    return error.message;
  }
};
console.log(JSON.stringify(JSON.parse(require("fs").readFileSync(0, "utf8")).map(check)));
