"""The sentences from which tiny tokenizers learn their vocabularies, and those on which tiny models are asked."""

CORPUS = (
    "I love bears, and the bears that I love live by the river.",
    "The river runs from the hills to the sea, past the mill and the old stone bridge.",
    "In the morning the miller opens the gate, and the water turns the wheel.",
    "Every spring the salmon come up the river, and the bears are waiting there.",
    "A small bear learns from a big bear how to stand in cold water and wait.",
    "When the rain comes, the children run home and read by the fire.",
    "The teacher asks a question, the key fits the lock, and the value is in the answer.",
    "Which words does a word look at when it looks for its meaning?",
    "Attention gives each word a share of every other word, and the shares add up to one.",
    "She wrote 12 letters in 1987, 24 letters in 1990, and none at all after 2003.",
    "He said that the train leaves at 7:45; it left at 8:10.",
    "The café on the corner sells crêpes for 3.50 €, coffee for 2.20 €.",
    "O urso come peixe no rio. As crianças brincam no jardim.",
    "Der Bär frißt Fische im Fluß, und die Kinder spielen im Garten.",
    "Where is the library? It is behind the market, next to the museum.",
    "Nobody knows why the lighthouse stands so far from the shore.",
    "They walked and walked until they were walking in the dark.",
    "The longer the sentence, the more a window hides of what was said at its beginning.",
)

# One whose tokens fit into any window of a tiny model, one that is longer than the windows.
QUESTIONS = ("I love bears.", "The bear waits by the old river.")

# What tokenizers alone are asked beside these.
TOKENIZED = (
    "",
    "  two  spaces, a\ttab\nand a line ",
    "Straße, naïve café: 3.50 €",
    "bears 🐻 and 東京",
    "12345 BEARS!",
)

CHAT = (
    {"role": "system", "content": "You answer in one word."},
    {"role": "user", "content": "What do bears eat?"},
    {"role": "assistant", "content": "Fish."},
    {"role": "user", "content": "And where?"},
)
