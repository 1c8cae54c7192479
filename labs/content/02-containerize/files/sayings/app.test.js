// Unit tests. Run them with: devops-lab app test app.test.js

import app, { sayingOf } from "./app.js";
import { SAYINGS } from "./sayings.js";

test("has a saying for every day of the year", () => {
  for (let day = 0; day < 366; day += 1) {
    assert(sayingOf(day), `nothing to say on day ${day}`);
  }
});

test("says another thing tomorrow", () => {
  assert(sayingOf(0) !== sayingOf(1), "the same saying on two days in a row");
});

test("answers with one of its sayings", async () => {
  const response = await app.fetch(new Request("/"));
  const { saying } = await response.json();
  assert(SAYINGS.includes(saying), `${saying} is not one of them`);
});
