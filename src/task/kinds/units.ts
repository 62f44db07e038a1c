/**
 * Units that may stand beside a number, each with its spellings. A closed list: a word that is not in
 * it may change the number ("3 million", "7 or so"), and then the text is no number to us.
 */

/** The one spelling of a unit, or null for what is none. Symbols keep their case, words do not. */
export function unitOf(text: string): string | null {
  return (
    SPELLINGS.get(text) ?? (text.length > 2 ? SPELLINGS.get(text.toLowerCase()) : null) ?? null
  );
}

/** Spellings that may stand before the number. */
export const currencies: readonly string[] = ["US$", "$", "€", "£", "¥", "₹", "USD", "EUR", "GBP"];

const UNITS: Readonly<Record<string, readonly string[]>> = {
  "%": ["%", "percent", "per cent", "pct"],
  USD: ["$", "US$", "USD", "dollar", "dollars"],
  EUR: ["€", "EUR", "euro", "euros"],
  GBP: ["£", "GBP"],
  "¥": ["¥", "yen", "yuan"],
  INR: ["₹", "INR", "rupee", "rupees"],
  cent: ["¢", "cent", "cents"],
  pound: ["pound", "pounds", "lb", "lbs"],
  nm: ["nm", "nanometre", "nanometres", "nanometer", "nanometers"],
  μm: ["μm", "um", "micrometre", "micrometres", "micrometer", "micrometers"],
  mm: ["mm", "millimetre", "millimetres", "millimeter", "millimeters"],
  cm: ["cm", "centimetre", "centimetres", "centimeter", "centimeters"],
  m: ["m", "metre", "metres", "meter", "meters"],
  km: ["km", "Km", "KM", "kilometre", "kilometres", "kilometer", "kilometers"],
  inch: ["in", "in.", "inch", "inches"],
  foot: ["ft", "ft.", "foot", "feet"],
  yard: ["yd", "yard", "yards"],
  mile: ["mi", "mile", "miles"],
  "m^2": ["m^2", "m2", "sq m", "square metres", "square meters"],
  "km^2": ["km^2", "km2", "sq km", "square kilometres", "square kilometers"],
  "m^3": ["m^3", "m3", "cubic metres", "cubic meters"],
  mg: ["mg", "milligram", "milligrams"],
  g: ["g", "gram", "grams"],
  kg: ["kg", "Kg", "KG", "kilogram", "kilograms", "kilo", "kilos"],
  tonne: ["t", "tonne", "tonnes"],
  ml: ["ml", "mL", "millilitre", "millilitres", "milliliter", "milliliters"],
  l: ["l", "L", "litre", "litres", "liter", "liters"],
  ms: ["ms", "millisecond", "milliseconds"],
  s: ["s", "sec", "secs", "second", "seconds"],
  min: ["min", "mins", "minute", "minutes"],
  h: ["h", "hr", "hrs", "hour", "hours"],
  day: ["d", "day", "days"],
  week: ["week", "weeks"],
  month: ["month", "months"],
  year: ["yr", "yrs", "year", "years"],
  "km/h": ["km/h", "kmh", "kph"],
  mph: ["mph"],
  "m/s": ["m/s"],
  "°": ["°", "degree", "degrees"],
  "°C": ["°C", "° C", "degrees celsius"],
  "°F": ["°F", "° F", "degrees fahrenheit"],
  K: ["kelvin", "kelvins"],
  Hz: ["Hz", "hertz"],
  kHz: ["kHz"],
  MHz: ["MHz"],
  GHz: ["GHz"],
  V: ["V", "volt", "volts"],
  W: ["W", "watt", "watts"],
  kW: ["kW"],
  kWh: ["kWh"],
  B: ["byte", "bytes"],
  kB: ["kB", "KB"],
  MB: ["MB"],
  GB: ["GB"],
  px: ["px", "pixel", "pixels"],
};

const SPELLINGS: ReadonlyMap<string, string> = new Map(
  Object.entries(UNITS).flatMap(([unit, spellings]) =>
    spellings.map((spelling) => [spelling.normalize("NFKC"), unit] as const),
  ),
);
