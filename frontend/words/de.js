/** @import { en } from "./en.js" */

/**
 * Everything that the pages say, in German.
 * @type {typeof en}
 */
export const de = {
  common: {},
  account: {},
  shell: {},
  stream: {
    states: {
      off: "Aus",
      connecting: "Verbindet",
      live: "Live",
      reconnecting: "Verbindet neu",
      muted: "Live, stumm",
    },
    sentences: {
      off: "Niemand hört dich, bis du auf Start drückst.",
      opening: "Dein Mikrofon wird geöffnet.",
      connecting: "Verbindung zum Server wird aufgebaut.",
      unreachable: "hushcast ist nicht erreichbar. Wir versuchen es weiter.",
      live: "Deine Freunde können dich hören.",
      newsAway:
        "Deine Freunde hören dich weiter, aber vom Server kommen keine Nachrichten. Änderungen wirken später.",
      muted: "Du bist stumm. Deine Freunde hören Stille.",
      systemMuted: "Dein Mikrofon ist vom System oder am Gerät stummgeschaltet: Niemand hört dich.",
      silent:
        "Wir können dich nicht hören. Dein Mikrofon sendet nur Stille: Prüfe, ob es eingeschaltet ist, oder wähle ein anderes.",
      lost: "Die Verbindung ist abgebrochen. Wir stellen sie wieder her.",
      lostServer: "hushcast ist nicht erreichbar. Bis dahin hören dich deine Freunde nicht.",
      elsewhere: "Dieser Stream kommt von einer anderen Seite oder einem anderen Gerät.",
      elsewhereLost:
        "Dein Stream kommt von einer anderen Seite oder einem anderen Gerät, das die Verbindung verloren hat.",
      ended: {
        stopped: "Dein Stream ist beendet. Niemand hört dich jetzt.",
        ended: "Dein Stream wurde von einer anderen Seite oder vom Server beendet.",
        absent:
          "Dein Stream endete, während dieses Gerät schlief oder offline war. Möchtest du wieder live gehen?",
        late: "Die Verbindung kam nicht rechtzeitig zustande; es wurde nichts gesendet. Drück auf Start, um es noch einmal zu versuchen.",
        unheard:
          "Der Server hat von deinem Mikrofon nichts empfangen, darum hat der Stream nicht begonnen.",
        "taken over": "Dein Stream kommt jetzt von einer anderen Seite oder einem anderen Gerät.",
        failed: "",
      },
    },
    listeners: (count) => (count === 1 ? "1 Zuhörer" : `${count} Zuhörer`),
    nobodyYet: "Noch hört niemand zu",
    nobodyNow: "Gerade hört niemand zu",
    heading: "Dein Stream",
    start: "Start",
    startHere: "Von hier streamen",
    stop: "Stopp",
    mute: "Stummschalten",
    unmute: "Stummschaltung aufheben",
    stopQuestion: "Deinen Stream beenden?",
    stopConsequence: (count) =>
      count === 1 ? "Eine Person hört zu." : `${count} Personen hören zu.`,
    title: "Titel",
    titleHint: "Freunde sehen ihn, und die Aufnahme heißt so",
    noiseReduction: "Rauschunterdrückung",
    noiseReductionHint: "Wirkt sofort und für alle",
    strength: "Stärke",
    strengthAll: "Alles",
    strengthUpTo: (limit) => `Bis zu ${limit} dB`,
    share: "Originalton teilen",
    shareHint: "Freunde können vorher und nachher vergleichen",
    input: "Mikrofon",
    defaultDevice: "Standardmikrofon",
    meters: { input: "Mikrofon", output: "Freunde hören" },
    level: (label) => `${label}, Pegel`,
    noSound: "kein Ton",
    spectrogram: {
      about: "Die letzten zehn Sekunden Ton, vor und nach der Rauschunterdrückung.",
      before: "Vorher",
      after: "Nachher",
      removed: (decibels) => `Rauschen entfernt: ${decibels} dB`,
      measuring: "Rauschen entfernt: wird gemessen, wenn du eine Pause machst",
      off: "Die Rauschunterdrückung ist aus",
    },
    quality: {
      label: "Verbindung",
      words: { good: "Gut", fair: "Mäßig", poor: "Schlecht" },
      hints: { good: "", fair: "", poor: "Der Ton kann stocken" },
      roundTrip: (ms) => `Umlaufzeit: ${ms === null ? "unbekannt" : `${ms} ms`}`,
      gaps: (count) => `Hörbare Lücken bisher: ${count}`,
      loss: (percent) => `Unterwegs verloren: ${percent} %`,
    },
    check: {
      open: "Hör dich vorher an",
      close: "Probe schließen",
      explanation:
        "Nimm fünf Sekunden auf und hör dich an, wie deine Freunde dich hören würden. Nichts davon wird behalten.",
      record: "5 Sekunden aufnehmen",
      again: "Noch einmal aufnehmen",
      recording: (seconds) => `Aufnahme: noch ${seconds} s. Sag etwas.`,
      cleaning: "Das Rauschen wird entfernt.",
      play: "Abspielen",
      pause: "Anhalten",
      sound: "Ton",
      before: "Vorher",
      after: "Nachher",
      ready: "Schalte beim Abspielen zwischen vorher und nachher um.",
      tooShort: "Das war zu kurz. Nimm noch einmal auf.",
    },
    microphone: {
      fellBack:
        "Das gewählte Mikrofon ist nicht angeschlossen. Stattdessen wird das Standardmikrofon benutzt.",
      unplugged: "Dein Mikrofon wurde getrennt. Jetzt wird das Standardmikrofon benutzt.",
      insecure:
        "Browser erlauben das Mikrofon nur auf Seiten, die über https oder auf demselben Gerät geöffnet sind. Öffne hushcast unter seiner https-Adresse.",
      broken: (why) => `Das Mikrofon ließ sich nicht starten: ${why}`,
      refusals: {
        NotAllowedError:
          "Der Browser darf das Mikrofon nicht benutzen. Erlaube es in der Adresszeile und drück noch einmal auf Start.",
        NotFoundError: "Kein Mikrofon gefunden. Schließ eines an und drück noch einmal auf Start.",
        NotReadableError: "Ein anderes Programm benutzt das Mikrofon, oder es reagiert nicht.",
        OverconstrainedError: "Das gewählte Mikrofon ist nicht angeschlossen. Wähle ein anderes.",
      },
    },
  },
  listen: {},
  friends: {},
  recordings: {},
  links: {},
  admin: {},
  errors: {},
};
