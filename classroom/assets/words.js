// Every word of the pages, in every language, and how they are put in.

const WORDS = {
  en: {
    "other": "Français",
    "join.lead": "Open a terminal and join. Your teacher shows the code.",
    "join.shared": "Your class sees your name, the steps you open and check, what a check found, hints you ask for, your raised hand, and what devops-lab doctor says. Nothing else.",
    "join.teachers": "For teachers",
    "join.name": "YOUR-NAME",
    "get.lead": "Everything for the class, from your teacher’s machine. No internet needed.",
    "get.linux": "Linux (x86_64)",
    "get.wget": "Without curl:",
    "get.has": "With devops-lab already installed:",
    "get.others": "macOS, Windows",
    "get.none": "devops-lab does not run there yet. In Windows, the Linux command works inside WSL 2. On a Mac, work with a neighbour today.",
    "get.size": "To download:",
    "get.file": "the file itself",
    "get.trust": "The checksum finds damage, not malice: it comes over the same network. Use this on a network that you trust.",
    "get.join": "How to join the class",
    "login.title": "The teachers’ page",
    "login.name": "Your name, as students shall see it",
    "login.password": "Password of the class",
    "login.enter": "Enter",
    "skip": "Skip to the class",
    "figure.present": "present",
    "figure.stuck": "need help",
    "figure.hands": "hands up",
    "theme": "Light or dark",
    "logout": "Log out",
    "map.title": "The class, step by step",
    "map.find": "Find a student",
    "map.sort": "Order",
    "map.student": "Student",
    "map.more": (count) => `${count} more: find them by name`,
    "map.nobody": "Nobody has joined yet.",
    "sort.trouble": "need help first",
    "sort.name": "by name",
    "sort.progress": "furthest first",
    "legend.done": "done",
    "legend.here": "working on it",
    "legend.failing": "last check failed",
    "legend.stuck": "needs help",
    "state.none": "not begun",
    "tell.title": "Tell the class",
    "tell.message": "Message",
    "tell.send": "Send to everybody",
    "tell.step": "Step",
    "tell.point": "Everybody to this step",
    "tell.labs": "Open or close labs",
    "tell.fault": "Break something",
    "tell.done": "The class is told.",
    "hands.title": "Raised hands",
    "hands.none": "Nobody.",
    "hands.take": "I am coming",
    "hands.close": "Settled",
    "hands.taken": (by) => `${by} is on the way`,
    "common.title": "Mistakes of the moment",
    "common.none": "None in the last quarter of an hour.",
    "common.students": (count) => (count === 1 ? "1 student" : `${count} students`),
    "pace.title": "Pace",
    "pace.words": (median, planned) => `Half of the class has done ${median} steps or more; by the plan it would be ${planned}.`,
    "ready.title": "Machines not ready",
    "ready.none": "All that joined are ready.",
    "trouble.same-cause": "same mistake again",
    "trouble.long": "long on this step",
    "trouble.silent": "silent",
    "student.timeline": "What happened",
    "student.close": "Close",
    "student.message": "Message to her or him",
    "student.left": "has left",
    "student.hints": (count) => `${count} hints`,
    "event.opened": "opened",
    "event.checked": "checked",
    "event.hinted": "asked for a hint at",
    "event.hand-raised": "raised a hand at",
    "event.hand-lowered": "lowered the hand",
    "event.doctor": "doctor",
    "event.faults": "about faults",
    "event.recovered": "recovered from",
    "event.left": "left",
    "verdict.holds": "holds",
    "verdict.not-yet": "not yet",
    "verdict.could-not-run": "could not run",
    "labs.title": "Labs that are open",
    "labs.save": "Save",
    "labs.all": "With none or all of them marked, all are open.",
    "fault.title": "Break something for those who agreed",
    "fault.go": "Break it",
    "fault.who": (count) => (count === 1 ? "1 student agreed to it." : `${count} students agreed to it.`),
    "link.live": "live",
    "link.lost": "connection lost: trying again",
    "ago": (minutes) => (minutes < 1 ? "just now" : `${minutes} min`),
  },
  fr: {
    "other": "English",
    "join.lead": "Ouvrez un terminal et rejoignez la classe. Votre professeur affiche le code.",
    "join.shared": "La classe voit votre nom, les étapes que vous ouvrez et vérifiez, ce qu’une vérification a trouvé, les indices demandés, votre main levée et ce que dit devops-lab doctor. Rien d’autre.",
    "join.teachers": "Pour les enseignants",
    "join.name": "VOTRE-NOM",
    "get.lead": "Tout ce qu’il faut pour la classe, depuis la machine de votre professeur. Sans internet.",
    "get.linux": "Linux (x86_64)",
    "get.wget": "Sans curl :",
    "get.has": "Si devops-lab est déjà installé :",
    "get.others": "macOS, Windows",
    "get.none": "devops-lab n’y fonctionne pas encore. Sous Windows, la commande pour Linux marche dans WSL 2. Sur Mac, travaillez aujourd’hui avec un voisin.",
    "get.size": "À télécharger :",
    "get.file": "le fichier lui-même",
    "get.trust": "La somme de contrôle trouve les dégâts, pas la malveillance : elle arrive par le même réseau. À utiliser sur un réseau de confiance.",
    "get.join": "Comment rejoindre la classe",
    "login.title": "La page des enseignants",
    "login.name": "Votre nom, tel que les étudiants le verront",
    "login.password": "Mot de passe de la classe",
    "login.enter": "Entrer",
    "skip": "Aller à la classe",
    "figure.present": "présents",
    "figure.stuck": "à aider",
    "figure.hands": "mains levées",
    "theme": "Clair ou sombre",
    "logout": "Se déconnecter",
    "map.title": "La classe, étape par étape",
    "map.find": "Chercher un étudiant",
    "map.sort": "Ordre",
    "map.student": "Étudiant",
    "map.more": (count) => `${count} de plus : cherchez-les par leur nom`,
    "map.nobody": "Personne n’a encore rejoint la classe.",
    "sort.trouble": "à aider d’abord",
    "sort.name": "par nom",
    "sort.progress": "les plus avancés d’abord",
    "legend.done": "fait",
    "legend.here": "en cours",
    "legend.failing": "dernière vérification en échec",
    "legend.stuck": "à aider",
    "state.none": "pas commencé",
    "tell.title": "Parler à la classe",
    "tell.message": "Message",
    "tell.send": "Envoyer à tous",
    "tell.step": "Étape",
    "tell.point": "Tout le monde à cette étape",
    "tell.labs": "Ouvrir ou fermer des labs",
    "tell.fault": "Provoquer une panne",
    "tell.done": "La classe est prévenue.",
    "hands.title": "Mains levées",
    "hands.none": "Personne.",
    "hands.take": "J’arrive",
    "hands.close": "Réglé",
    "hands.taken": (by) => `${by} arrive`,
    "common.title": "Les erreurs du moment",
    "common.none": "Aucune depuis un quart d’heure.",
    "common.students": (count) => (count === 1 ? "1 étudiant" : `${count} étudiants`),
    "pace.title": "Rythme",
    "pace.words": (median, planned) => `La moitié de la classe a fait au moins ${median} étapes ; le plan en prévoit ${planned}.`,
    "ready.title": "Machines pas prêtes",
    "ready.none": "Toutes celles de la classe sont prêtes.",
    "trouble.same-cause": "encore la même erreur",
    "trouble.long": "longtemps sur cette étape",
    "trouble.silent": "silence",
    "student.timeline": "Ce qui s’est passé",
    "student.close": "Fermer",
    "student.message": "Lui écrire",
    "student.left": "est parti",
    "student.hints": (count) => `${count} indices`,
    "event.opened": "a ouvert",
    "event.checked": "a vérifié",
    "event.hinted": "a demandé un indice pour",
    "event.hand-raised": "a levé la main à",
    "event.hand-lowered": "a baissé la main",
    "event.doctor": "doctor",
    "event.faults": "à propos des pannes",
    "event.recovered": "s’est remis de",
    "event.left": "est parti",
    "verdict.holds": "c’est bon",
    "verdict.not-yet": "pas encore",
    "verdict.could-not-run": "n’a pas pu s’exécuter",
    "labs.title": "Les labs ouverts",
    "labs.save": "Enregistrer",
    "labs.all": "Si aucun ou tous sont cochés, tous sont ouverts.",
    "fault.title": "Provoquer une panne chez les volontaires",
    "fault.go": "Provoquer",
    "fault.who": (count) => (count === 1 ? "1 étudiant est volontaire." : `${count} étudiants sont volontaires.`),
    "link.live": "en direct",
    "link.lost": "connexion perdue : nouvel essai",
    "ago": (minutes) => (minutes < 1 ? "à l’instant" : `${minutes} min`),
  },
};

const KEPT = "devops-lab-language";

let language = localStorage.getItem(KEPT) ?? (navigator.language.startsWith("fr") ? "fr" : "en");

export function word(key, ...details) {
  const found = WORDS[language][key] ?? WORDS.en[key] ?? key;
  return typeof found === "function" ? found(...details) : found;
}

// A text that exists in every language, as the server sends it.
export function told(text) {
  return text?.[language] || text?.en || "";
}

// Puts the words into the page, and again whenever the language is changed.
export function speak(changed) {
  const put = () => {
    document.documentElement.lang = language;
    for (const element of document.querySelectorAll("[data-i18n]")) {
      element.textContent = word(element.dataset.i18n);
    }
    const other = document.getElementById("language");
    other.textContent = word("other");
    other.lang = language === "fr" ? "en" : "fr";
    changed();
  };
  document.getElementById("language").addEventListener("click", () => {
    language = language === "fr" ? "en" : "fr";
    localStorage.setItem(KEPT, language);
    put();
  });
  put();
}

export function clock(time) {
  return new Date(time).toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit" });
}
