"""Fifty synthetic inputs of a batch: the bytes of each row, and the tokens that it takes.

The texts are sentences of four languages. A token model for each language stands in for a tokenizer, so bytes
for a token differ between languages and between sentences. What a model answers and thinks is drawn from laws that
are named here. No real model was asked.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from typing import NamedTuple

ENGLISH = (
    "The battery lasts two days.",
    "I waited three weeks for the parcel, and nobody at the service desk could tell me where it was.",
    "Great value!",
    "It broke after a month; the replacement arrived quickly, though, and works as described.",
    "Would not buy again.",
    "The committee postponed its decision on the interconnection until environmental assessments are available.",
    "Screen is bright but the speakers are thin and tinny.",
    "Order #48-2219-07 was delivered on 2026-03-14 at 17:42.",
    "Revenue for the quarter rose by 4.2 % to $18,204,551, driven by subscriptions in northern Europe.",
    "My daughter loves it and so do I, we have already ordered a second one for her grandparents.",
)
GERMAN = (
    "Der Akku hält zwei Tage.",
    "Die Lieferung verzögerte sich um drei Wochen, und der Kundendienst wusste nicht, wo das Paket geblieben war.",
    "Gerne wieder!",
    "Die Straßenverkehrsordnung verlangt eine Geschwindigkeitsbegrenzung in verkehrsberuhigten Bereichen.",
    "Das Gerät ist schön, aber viel zu laut.",
    "Der Aufsichtsrat genehmigte die Umstrukturierungsmaßnahmen des Tochterunternehmens einstimmig.",
    "Nach einem Monat war es kaputt.",
    "Bestellung 48-2219-07 wurde am 14.03.2026 um 17:42 Uhr zugestellt.",
)
JAPANESE = (
    "電池は二日もちます。",
    "荷物が届くまで三週間も待たされ、サポートに問い合わせても何も分かりませんでした。",
    "とても良い!",
    "画面は明るいですが、スピーカーの音は少し物足りないです。",
    "環境影響評価の結果が出るまで、委員会は決定を延期した。",
    "もう買いません。",
    "注文48-2219-07は2026年3月14日17時42分に配達されました。",
    "プレゼントに購入しましたが、家族みんなが気に入って毎日使っています。",
)
CODE = (
    "def total(rows):\n    return sum(row.price * row.count for row in rows)\n",
    'if (err != nil) {\n\t\treturn fmt.Errorf("open %s: %w", path, err)\n\t}\n',
    "SELECT customer_id, COUNT(*) AS orders FROM sales GROUP BY customer_id HAVING COUNT(*) > 3;\n",
    "    for (let i = 0; i < xs.length; i++) { out[i] = xs[i] ?? 0; }\n",
    "# TODO: remove when the migration is done\n",
    "public static final int MAX_CONNECTIONS_PER_HOST = 16;\n",
    "        assert response.status_code == 200, response.text\n",
    "}\n\n",
)
LETTERS_PER_TOKEN = {"en": 6.0, "de": 4.5, "ja": 4.0, "code": 4.0}
TEXTS = {"en": ENGLISH, "de": GERMAN, "ja": JAPANESE, "code": CODE}

_PIECE = re.compile(r"[぀-ヿ]+|[一-鿿]|\d{1,3}|[^\W\d_]+|\s{2,}|[^\w\s]|_")
_KANA = re.compile(r"[぀-ヿ]+")


class Sizes(NamedTuple):
    """A text in UTF-8 bytes and in tokens."""

    size_bytes: int
    tokens: int


class Row(NamedTuple):
    """A row as a trial sees it, once it is answered."""

    size_bytes: int
    input: int
    output: int
    thinking: int


def tokens_of(text: str, language: str) -> int:
    """Tokens of a text: pieces of words, one for each ideograph, about two kana each, three digits each."""
    each = LETTERS_PER_TOKEN[language]
    return sum(
        math.ceil(len(piece) / 2) if _KANA.match(piece) else math.ceil(len(piece) / each) if piece.strip() else 1
        for piece in _PIECE.findall(text)
    )


SENTENCES = {
    language: [Sizes(len(text.encode()), tokens_of(text, language)) for text in texts]
    for language, texts in TEXTS.items()
}

Draw = Callable[[random.Random], float]
Answer = Callable[[random.Random, Sizes], float]
"""Tokens for a text without its template."""


def lognormal(median: float, sigma: float) -> Draw:
    """Its mean over its median is exp(sigma² / 2)."""
    return lambda rng: median * math.exp(rng.gauss(0, sigma))


def pareto(least: float, alpha: float, most: float) -> Draw:
    """A heavy tail, cut off."""
    return lambda rng: min(least * rng.paretovariate(alpha), most)


def either(share: float, one: Draw, other: Draw) -> Draw:
    """One of two."""
    return lambda rng: one(rng) if rng.random() < share else other(rng)


def uniform(least: float, most: float) -> Draw:
    """Anything between."""
    return lambda rng: rng.uniform(least, most)


LENGTHS: dict[str, Draw] = {
    "label": uniform(1, 3.99),
    "review": lognormal(6, 0.6),
    "ticket": lognormal(12, 0.8),
    "article": lognormal(60, 0.5),
    "chunk": uniform(28, 33),
    "report": lognormal(300, 0.7),
    "tail": pareto(6, 1.5, 3000),
    "wide": lognormal(10, 1.3),
    "mixed": either(0.9, uniform(2, 8), uniform(150, 400)),
}
"""Sentences of a row."""


def alone(draw: Draw) -> Answer:
    """The answer's length has nothing to do with the text's."""
    return lambda rng, text: draw(rng)


def share(part: float, sigma: float, base: float = 0) -> Answer:
    """The answer grows with the text."""
    return lambda rng, text: base + part * text.tokens * math.exp(rng.gauss(0, sigma))


def root(factor: float, sigma: float) -> Answer:
    """The answer grows with the text, ever more slowly."""
    return lambda rng, text: factor * math.sqrt(text.tokens) * math.exp(rng.gauss(0, sigma))


def capped(answer: Answer, most: int) -> Answer:
    """Cut off at ``maxOutputTokens``."""
    return lambda rng, text: min(answer(rng, text), most)


ANSWERS: dict[str, Answer] = {
    "label": alone(uniform(1, 4.99)),
    "flag": alone(either(0.7, uniform(5, 5.5), uniform(6, 6.5))),
    "same": alone(uniform(7, 7.5)),
    "json": lambda rng, text: 38 + 11 * rng.randint(0, 6),
    "json-free": lambda rng, text: 45 + rng.lognormvariate(3.2, 0.7),
    "summary": alone(lognormal(110, 0.3)),
    "reply": alone(lognormal(180, 0.5)),
    "essay": alone(lognormal(700, 0.45)),
    "open": alone(lognormal(250, 0.9)),
    "tail": alone(lognormal(120, 1.2)),
    "extract": share(0.25, 0.4, base=20),
    "translate": share(1.15, 0.12),
    "gist": root(6, 0.35),
    "list": lambda rng, text: 12 + 24 * min(int(rng.expovariate(0.35)), 40),
    "cut": capped(alone(lognormal(400, 0.7)), 512),
    "cut-tail": capped(alone(lognormal(150, 1.2)), 1024),
    "refuses": alone(either(0.15, uniform(10, 25), lognormal(350, 0.4))),
}

THOUGHTS: dict[str, Answer] = {
    "off": alone(uniform(0, 0.5)),
    "low": alone(lognormal(220, 0.5)),
    "high": alone(lognormal(1400, 0.7)),
    "tail": alone(lognormal(600, 1.1)),
    "often": alone(either(0.6, lognormal(700, 0.6), uniform(0, 0.5))),
    "half": alone(either(0.3, lognormal(900, 0.7), uniform(0, 0.5))),
    "rare": alone(either(0.08, lognormal(2500, 0.5), uniform(0, 0.5))),
    "hard": lambda rng, text: 300 + 18 * math.sqrt(text.tokens) * math.exp(rng.gauss(0, 0.6)),
    "budget": capped(alone(lognormal(900, 0.8)), 1024),
}


class Workload(NamedTuple):
    """An input and its answers.

    :param languages: The rows are of one of them each, as likely as it is named.
    :param cap: ``maxOutputTokens``, as far as one was set.
    """

    name: str
    languages: str
    length: str
    template_bytes: int
    answer: str
    thought: str
    cap: int | None = None

    def rows(self, count: int, seed: int = 0) -> list[Row]:
        """The same ones each time."""
        rng = random.Random(f"{seed} {self.name}")
        return [self._row(rng) for _ in range(count)]

    def _row(self, rng: random.Random) -> Row:
        text = _text(rng, rng.choice(self.languages.split()), LENGTHS[self.length](rng))
        return Row(
            self.template_bytes + text.size_bytes,
            self.template_bytes // 4 + text.tokens,
            int(ANSWERS[self.answer](rng, text)),
            int(THOUGHTS[self.thought](rng, text)),
        )


def _text(rng: random.Random, language: str, length: float) -> Sizes:
    """A text of about so many sentences. A long one repeats a page of twelve."""
    sentences = max(1, round(length))
    pages, page = divmod(sentences, 12)
    size = tokens = 0
    for number, chosen in enumerate(rng.choices(SENTENCES[language], k=min(sentences, 12))):
        times = pages + (number < page)
        size += times * chosen.size_bytes
        tokens += times * chosen.tokens
    # Names, numbers and typing errors take more or fewer tokens than the model says.
    return Sizes(size, max(1, round(tokens * math.exp(rng.gauss(0, 0.04)))))


WORKLOADS = tuple(
    Workload(*fields)
    for fields in (
        ("labels of short reviews", "en", "label", 0, "label", "off"),
        ("labels, thinking", "en", "review", 400, "label", "low"),
        ("labels in German", "de", "review", 400, "label", "off"),
        ("labels in Japanese", "ja", "review", 400, "label", "off"),
        ("flags of tickets", "en", "ticket", 900, "flag", "off"),
        ("flags of tickets, thinking hard", "en", "ticket", 900, "flag", "hard"),
        ("the same answer always", "en", "review", 200, "same", "off"),
        ("the same answer, thinking", "de", "review", 200, "same", "high"),
        ("fields of reviews", "en", "review", 1200, "json", "off"),
        ("fields of reviews, four languages", "en de ja code", "review", 1200, "json", "off"),
        ("fields of tickets in German", "de", "ticket", 1200, "json-free", "off"),
        ("fields of tickets in Japanese, thinking", "ja", "ticket", 1200, "json-free", "low"),
        ("fields of articles", "en", "article", 2000, "json-free", "off"),
        ("fields of articles, thinking now and then", "en", "article", 2000, "json-free", "half"),
        ("fields of documents with a tail", "en", "tail", 800, "json", "off"),
        ("lists of entities", "en", "article", 600, "list", "off"),
        ("lists of entities in Japanese, thinking", "ja", "article", 600, "list", "often"),
        ("summaries of articles", "en", "article", 300, "summary", "off"),
        ("summaries of articles in German", "de", "article", 300, "summary", "low"),
        ("summaries of articles in Japanese", "ja", "article", 300, "summary", "off"),
        ("summaries of chunks", "en", "chunk", 300, "summary", "off"),
        ("summaries of reports", "en", "report", 300, "summary", "high"),
        ("summaries of reports, two languages", "en ja", "report", 300, "gist", "off"),
        ("summaries of documents with a tail", "en", "tail", 300, "gist", "low"),
        ("summaries of code", "code", "ticket", 300, "summary", "off"),
        ("reviews of code", "code", "article", 1500, "reply", "high"),
        ("reviews of code, thinking with a tail", "code", "ticket", 1500, "reply", "tail"),
        ("fixes of code", "code", "ticket", 800, "translate", "hard"),
        ("replies to tickets", "en", "ticket", 2500, "reply", "off"),
        ("replies to tickets in German", "de", "ticket", 2500, "reply", "low"),
        ("replies, some refused", "en", "ticket", 400, "refuses", "off"),
        ("replies, some refused, thinking", "ja", "review", 400, "refuses", "often"),
        ("essays from a line", "en", "label", 150, "essay", "off"),
        ("essays from a line, thinking high", "en", "label", 150, "essay", "high"),
        ("essays from a line in German, capped", "de", "label", 150, "cut", "off", 512),
        ("open questions", "en", "review", 0, "open", "off"),
        ("open questions, thinking with a tail", "en", "review", 0, "open", "tail"),
        ("open questions, capped", "en", "review", 0, "cut-tail", "off", 1024),
        ("open questions in Japanese, budget", "ja", "review", 0, "open", "budget"),
        ("answers with a heavy tail", "en", "review", 0, "tail", "off"),
        ("thinking in a few rows only", "en", "review", 0, "reply", "rare"),
        ("translations of reviews", "de", "review", 120, "translate", "off"),
        ("translations of articles", "ja", "article", 120, "translate", "off"),
        ("translations of documents with a tail", "en", "tail", 120, "translate", "off"),
        ("translations, three languages", "en de ja", "wide", 120, "translate", "off"),
        ("extracts of articles", "en", "article", 700, "extract", "off"),
        ("extracts of texts of all lengths", "en de", "wide", 700, "extract", "low"),
        ("extracts, lines and reports mixed", "en", "mixed", 700, "extract", "often"),
        ("summaries, lines and reports mixed", "de", "mixed", 300, "summary", "off"),
        ("anything in four languages", "en de ja code", "wide", 0, "open", "half"),
    )
)
