export const SAYINGS = [
  "Many hands make light work.",
  "Measure twice, cut once.",
  "A stitch in time saves nine.",
  "Still waters run deep.",
  "The early bird catches the worm, the second mouse gets the cheese.",
];
