"""The language models, from counting to the GPT, behind the one interface of `language_model`."""
