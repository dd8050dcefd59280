"""Modal dialogs over the main screen: questions, palette, log, help, explanations."""
