import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csc_data.challenge import UnknownClassError, get_class_relations, label_classes, load_classes, read_classes
from csc_data.challenge.classes.own import make_classes
from csc_data.challenge.classes.settings import CLASS_NAMES, defaults_of, name_problems
from csc_data.challenge.colours import class_colour
from csc_data.config.user_config import Config
from csc_data.errors import MissingDataError, ProblemsError, UnreadableDataError

OWN = """
[classes.synapse]
instance = true
excludes = ["er"]
colour = "#FF7F0E"

[classes.psd]

[classes.contact]
parts = ["synapse", "psd", "golgi"]
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / "classes.toml").write_text(OWN, encoding="utf-8")
    return Config(data=str(tmp_path))


def test_classes_of_a_data_folder_stand_beside_the_challenges(config):
    table = load_classes(config)
    assert table.own == ("synapse", "psd", "contact")
    assert {name: table[name] for name in label_classes()} == dict(label_classes())
    assert table.instances == label_classes().instances | {"synapse"}
    assert table.parts_of("contact") == ("golgi_mem", "golgi_lum", "synapse", "psd")
    assert len({entry.id for entry in table.values()}) == len(table)
    assert not any(table[name].tested for name in table.own)
    assert (class_colour("synapse", table), class_colour("psd", table)) == ((255, 127, 14), class_colour("psd"))
    assert pickle.loads(pickle.dumps(table)) == table
    assert repr(table) == "<the challenge's classes, synapse, psd, contact>"
    assert make_classes({"classes": table.to_plain()}, table.source).to_plain() == table.to_plain()


def test_a_data_folder_without_a_file_has_the_challenges_classes(tmp_path):
    assert load_classes(Config(data=str(tmp_path))) is label_classes()
    assert defaults_of(None) == {}


def test_an_own_class_excludes_what_its_file_says_and_its_parts(config):
    relations = load_classes(config).relations(["synapse", "psd", "contact", "er_mem", "nuc", "mito"])
    assert relations == {
        "synapse": ("er_mem",),
        "psd": (),
        "contact": (),
        "er_mem": ("synapse", "nuc", "mito"),
        "nuc": ("er_mem", "mito"),
        "mito": ("er_mem", "nuc"),
    }


def test_what_a_group_excludes_its_parts_exclude():
    table = make_classes({"classes": {"a": {}, "b": {}, "ab": {"parts": ["a", "b"], "excludes": ["mito"]}}}, "f")
    relations = table.relations(["a", "b", "ab", "mito_mem", "mito", "er"])
    assert {name: relations[name] for name in ("a", "b", "ab")} == dict.fromkeys(("a", "b", "ab"), ("mito_mem", "mito"))
    assert relations["mito_mem"] == ("a", "b", "ab", "er")


names = st.sampled_from(["a", "b", "c", "d"])
known = st.sampled_from(["a", "b", "c", "d", "er", "er_mem", "ne", "mito"])
keys = st.fixed_dictionaries(
    {}, optional={"parts": st.lists(known, max_size=3), "excludes": st.lists(known, max_size=2)}
)


@given(st.dictionaries(names, keys, min_size=4))
def test_relations_are_symmetric_and_never_with_what_shares_a_part(classes):
    try:
        table = make_classes({"classes": classes}, "f")
    except ProblemsError:
        return
    relations = table.relations(table)
    for name, others in relations.items():
        for other in others:
            assert name in relations[other]
            assert not table[name].atoms & table[other].atoms
        for other in classes.get(name, {}).get("excludes", ()):
            assert other in others
            assert {part for part in table if table[part].parts and table[part].atoms <= table[other].atoms} <= {
                *others,
                other,
            }
    of_challenge = get_class_relations()
    assert {name: tuple(o for o in relations[name] if o in of_challenge) for name in of_challenge} == of_challenge


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[classes.mito]", "mito: is a class of the challenge"),
        ("[classes.'a b']", "a b: 'a b' is not a name"),
        ("[classes.a_mask]", "a_mask: is the name of what lies beside classes"),
        ("[classes.a]\ninstanc = true", "a.instanc: there is no such key (did you mean instance?)"),
        ("[classes.a]\ninstance = 1", "a.instance: must be true or false, got 1"),
        ("[classes.a]\nparts = 'er'", "a.parts: must be a list of names of classes, got 'er'"),
        ("[classes.a]\nparts = ['mitto']", "a.parts: there is no class 'mitto' (did you mean mito?)"),
        ("[classes.a]\nexcludes = [3]", "a.excludes: there is no class 3"),
        ("[classes.a]\nparts = ['a']", "a.parts: names the class itself"),
        ("[classes.a]\nparts = ['b']\n[classes.b]\nparts = ['a']", "b.parts: is a part of itself"),
        ("[classes.a]\nparts = ['er']\nexcludes = ['er_mem']", "a.excludes: excludes what it is made of: er_mem"),
        ("[classes.a]\ncolour = 'red'", "a.colour: must be text like #ff7f0e, got 'red'"),
        ("classes = 3", "classes: must be tables"),
        ("[class.a]", "class: there is no such table"),
        ("[classes", "is not valid TOML"),
    ],
)
def test_what_makes_no_sense_is_told(tmp_path, text, words):
    file = tmp_path / "classes.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ProblemsError) as caught:
        read_classes(file)
    assert words in str(caught.value)


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(MissingDataError, match="there is no file"):
        read_classes(tmp_path / "none.toml")
    with pytest.raises(UnreadableDataError, match="cannot be read"):
        read_classes(tmp_path)


def test_an_unknown_name_is_told_with_the_nearest_and_where_own_classes_stand(config, tmp_path):
    table = load_classes(config)
    with pytest.raises(
        UnknownClassError, match=r"classes.toml has a class 'synapze'; did you mean synapse\?"
    ) as caught:
        table.find("synapze")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    (problem,) = label_classes().problems(["er", "synapse"])
    assert "classes of your own stand in a classes.toml in the data folder" in str(problem)
    assert name_problems(["synapse"], {"class_table": table}) == []
    assert [p.what for p in CLASS_NAMES.problems(["synapse"], {})] == ["the challenge has no class 'synapse'"]
