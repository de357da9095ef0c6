"""Text on its way to a model and back: tokens, templates of chats, sentences, stop strings."""
