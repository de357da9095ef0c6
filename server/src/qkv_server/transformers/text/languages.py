"""Languages by their BCP 47 tags: which pair of a model is meant, and how a language is called in English."""

from collections.abc import Iterable

Pair = tuple[str, str]  # source and target

# By primary subtag; another language is called by its tag.
NAMES = {
    "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German",
    "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian", "fa": "Persian", "fi": "Finnish", "fr": "French",
    "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian", "it": "Italian",
    "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "nl": "Dutch", "no": "Norwegian",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian",
    "sr": "Serbian", "sv": "Swedish", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu",
    "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


def name_of(tag: str) -> str:
    """What a language is called: of "pt-BR" Portuguese (BR)."""
    primary, _, rest = tag.partition("-")
    name = NAMES.get(primary.lower())
    return tag if name is None else f"{name} ({rest})" if rest else name


def matching(pairs: Iterable[Pair], source: str, target: str) -> list[Pair]:
    """The pairs that are meant by two tags, of which each may be empty: any. Regions do not count: "en-GB" is "en"."""
    return [pair for pair in pairs if _agree(pair[0], source) and _agree(pair[1], target)]


def _agree(of_model: str, wanted: str) -> bool:
    return not wanted or of_model.partition("-")[0].lower() == wanted.partition("-")[0].lower()
