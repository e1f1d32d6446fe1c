"""The studies: questions put to the model and the evidence, one file or package each."""
