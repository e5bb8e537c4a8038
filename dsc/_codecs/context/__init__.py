"""The context coder of label maps and masks: a small integer network predicts each pixel."""
