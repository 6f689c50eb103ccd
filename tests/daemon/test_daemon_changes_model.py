"""`freshd run` is given another model: it fills another generation by itself, and goes on answering all the while."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

from freshd.embedder.bundled import open_bundled
from tests.daemon.instance import FILES, Instance, eventually, instance

N_PAGES = 24


def another_model(folder: Path, models_dir: Path) -> Path:
    """Make a second real model of the bundled one: a text's vector is that of its first token, not of all of them."""
    bundled = open_bundled(models_dir)
    shutil.copytree(bundled.folder, folder)
    (folder / bundled.model_file).rename(folder / "model.onnx")
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    return folder


def generation(one: Instance) -> dict[str, Any]:
    """What stands in the status; nothing while one config takes over from another."""
    answer = one.get("/status")
    return answer.json()["generation"] if answer.status_code == 200 else {"live": None, "filling": None}


def found(one: Instance, query: str) -> set[str] | None:
    """Documents that a search finds; None while one config takes over from another."""
    answer = one.get("/search", q=query, k=50)
    return {hit["document_id"] for hit in answer.json()["hits"]} if answer.status_code == 200 else None


def test_a_running_freshd_changes_its_model_and_is_never_without_an_answer(tmp_path: Path):
    model = another_model(tmp_path / "model", tmp_path / "models")
    with instance(tmp_path / "one") as one:
        for n in range(N_PAGES):
            one.write(f"page{n}.md", f"# Page {n}\n\nOn page {n} there is a story about number {n}.\n")
        one.start()
        one.settled()
        before = generation(one)["live"]
        one.configure(FILES, f'[embedding]\nmodel = "{model}"\n')
        one.process.send_signal(signal.SIGHUP)
        eventually(lambda: one.events("generation_started"))
        one.write("page0.md", "# Page 0\n\nA hippopotamus.\n")
        (one.docs / "page1.md").unlink()
        answers = []

        def is_through() -> bool:
            answers.append(found(one, "story"))
            return generation(one)["live"] not in (None, before)

        eventually(is_through, 60)
        answers.append(found(one, "story"))
        assert all(answers), "an answer was empty, or there was none"
        eventually(lambda: found(one, "hippopotamus") == {f"page{n}.md" for n in range(N_PAGES) if n != 1})
        (said,) = one.events("generation_started")
        assert (said["documents"], said["vectors"]) == (N_PAGES, "embedded anew")
        now = generation(one)
        assert (now["filling"], now["retired"]["name"]) == (None, before)
        samples = one.get("/metrics").text
        assert f'freshd_generation_documents{{state="live"}} {N_PAGES - 1}.0' in samples
        one.stop()
        assert len(list(one.state.index_dir.glob("knowledge-*/"))) == 2
