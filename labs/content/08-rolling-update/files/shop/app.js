// Takes orders: POST one, and it gives you a number.

const VERSION = "1.0.0";

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Before it can take orders it reads the price list, and that takes two seconds.
await pause(2000);

export default {
  version: VERSION,

  async fetch(request) {
    // An order takes a moment.
    await pause(50);
    if (request.method !== "POST") {
      return Response.json({ hint: "POST an order", version: VERSION });
    }
    const order = crypto.randomUUID();
    return Response.json({ order, version: VERSION, pod: env.HOSTNAME }, { status: 201 });
  },
};
