"""Chat as the ladder's data: the channel's own, or a log file that is read as an import would read it, and not kept."""

import tempfile
from pathlib import Path

import numpy as np

from corpus.cleaning import Rules
from corpus.errors import TrainingError
from corpus.importers.importing import import_file
from corpus.importers.registry import importer_of
from corpus.importers.source import Options, Source
from corpus.settings import CleaningTable, CorpusTable
from corpus.slots import SPEAKER_SLOTS
from corpus.store import Corpus
from trainer.dataset import encode_lines, excerpt
from trainer.ladder_data import LadderData, Side
from trainer.material import Chat, read_chat
from trainer.plan import vocabulary_for
from trainer.schedule import missing
from trainer.settings import ModelTable
from trainer.tokenizer import train_tokenizer

MOST_VALIDATION_LINES = 20_000  # more would make every rung wait for its loss, and tell no more


def read_log(file: Path, corpus_table: CorpusTable, rules: Rules) -> Chat:
    """A chat log of any known format. Raises ImportFileError for what is none."""
    source = Source.of(file)
    importer = importer_of(source)
    with (
        tempfile.TemporaryDirectory() as folder,
        Corpus.open(Path(folder) / "chat.db", known_bots=corpus_table.known_bots) as corpus,
    ):
        import_file(corpus, source, importer, Options(channel="ladder"))
        return read_chat(corpus, rules)


def read_own(database: Path, rules: Rules) -> Chat:
    """The channel's own chat. Raises CorpusError where there is none yet."""
    with Corpus.open(database, read_only=True) as corpus:
        return read_chat(corpus, rules)


def chat_data(chat: Chat, table: ModelTable, cleaning: CleaningTable, *, name: str) -> LadderData:
    """Train and validation as the corpus split them for ever, 80/20. Raises TrainingError for too little chat."""
    if lacking := missing(len(chat.train), len(chat.validation)):
        raise TrainingError(f"there is too little chat for a ladder: {lacking}")
    texts = [part for line in chat.train for part in line.parts if isinstance(part, str)]
    tokenizer = train_tokenizer(
        table.tokenizer, texts, vocabulary_for(chat.characters, table), longest_word=cleaning.longest_word
    )
    train = encode_lines(chat.train, tokenizer)
    validation = excerpt(encode_lines(chat.validation, tokenizer), MOST_VALIDATION_LINES)
    unseen = np.isin(validation.rows, np.fromiter(chat.unseen_rows, dtype=np.int64))
    return LadderData(
        name=name,
        level=table.tokenizer,
        vocabulary=tokenizer,
        tokenizer=tokenizer,
        start_token=tokenizer.end_token,
        train=Side(train.documents(), int(train.characters.sum()), train),
        validation=Side(validation.documents(), int(validation.characters.sum()), validation, unseen),
        opening=(tokenizer.end_token, tokenizer.slot_token(SPEAKER_SLOTS - 1)),
        stop=(tokenizer.end_token,),
    )
