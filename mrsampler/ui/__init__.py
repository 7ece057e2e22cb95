"""The explorer: a Gradio page over the library. Nothing below imports from here."""
