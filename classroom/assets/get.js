// The page that hands out the bundle: one command per system.

import { speak } from "./words.js";

const { origin } = location;
const commands = {
  curl: `curl -fsSL ${origin}/get.sh | sh`,
  wget: `wget -qO- ${origin}/get.sh | sh`,
  get: `devops-lab bundle get ${origin} && devops-lab bundle load devops-lab.bundle`,
};

speak(() => {
  for (const [id, command] of Object.entries(commands)) {
    document.getElementById(id).textContent = command;
  }
});
