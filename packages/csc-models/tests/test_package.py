import subprocess
import sys

import csc_models


def test_exports_exist_and_are_few():
    assert len(csc_models.__all__) <= 25
    assert all(hasattr(csc_models, name) for name in csc_models.__all__)


def test_import_brings_torch_and_nothing_else():
    code = (
        "import sys, torch, torch.utils.checkpoint\n"
        "before = {name.partition('.')[0] for name in sys.modules}\n"
        "import csc_models, csc_models.checkpoint\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} - before - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['csc_models']"


def test_cards_of_all_models_import_nothing_heavy():
    code = (
        "import sys, csc_models\n"
        "before = set(sys.modules)\n"
        "own = [name for name in csc_models.list_models() if not csc_models.model_spec(name).extra]\n"
        "[csc_models.model_card(name) for name in own]\n"
        "print(len(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50
