// Answers with a saying. Which one, depends on the day.

import { SAYINGS } from "./sayings.js";

const VERSION = "1.0.0";

// The same saying from midnight to midnight, for whoever asks.
export function sayingOf(day) {
  return SAYINGS[day % SAYINGS.length];
}

export default {
  version: VERSION,

  fetch(request) {
    if (request.path !== "/") {
      return Response.json({ error: `there is nothing at ${request.path}` }, { status: 404 });
    }
    const day = Math.floor(Date.now() / 86_400_000);
    return Response.json({ saying: sayingOf(day), version: VERSION });
  },
};
