"""What backends declare, and how what they do not declare is refused."""

import pytest

from windtunnel.errors import SpecError, UnsupportedError
from windtunnel.spec.abilities import (
    ABILITIES,
    ANY_FLOAT,
    HALF,
    WITHOUT_WINDOW,
    Abilities,
    Call,
    HeadSizes,
    Place,
)
from windtunnel.spec.tables import ATTENTION_BACKENDS

CPU = Place(name="cpu", kind="cpu")
H200 = Place(name="cuda:0", kind="cuda", capability=(9, 0))
T4 = Place(name="cuda:0", kind="cuda", capability=(7, 5))


def declaring(**abilities: object) -> Abilities:
    return Abilities(dtypes={"cpu": ANY_FLOAT, "cuda": HALF}, **abilities)


def asking(**asked: object) -> Call:
    return Call(**{"dtype": "float32", "d_head": 64, "is_causal": True, **asked})


def refusal_of(abilities: Abilities, *, name: str = "mine", place: Place = CPU, **asked: object) -> str:
    with pytest.raises(UnsupportedError) as refusal:
        abilities.check(name, asking(**asked), place)
    return str(refusal.value)


def test_every_backend_of_the_table_declares_what_it_can_do():
    assert list(ABILITIES) == list(ATTENTION_BACKENDS)


@pytest.mark.parametrize("name", ABILITIES)
@pytest.mark.parametrize(("place", "dtype"), [(CPU, "float32"), (H200, "float16")], ids=["cpu", "cuda"])
def test_a_backend_takes_exactly_the_devices_that_it_declares(name: str, place: Place, dtype: str):
    try:
        ABILITIES[name].check(name, asking(dtype=dtype), place)
        is_taken = True
    except UnsupportedError:
        is_taken = False

    assert is_taken == (place.kind in ABILITIES[name].dtypes)


def test_a_device_that_is_not_declared_is_refused_with_those_that_are():
    text = refusal_of(ABILITIES["sdpa-cudnn"], name="sdpa-cudnn", dtype="float16")

    assert text == "attention 'sdpa-cudnn' does not run on cpu; it runs on cuda"


def test_a_dtype_that_is_not_declared_is_refused_with_those_that_are():
    text = refusal_of(ABILITIES["sdpa-flash"], name="sdpa-flash", place=H200, dtype="float32")

    assert text == "attention 'sdpa-flash' on cuda does not take float32; it takes float16, bfloat16"


def test_head_sizes_that_are_not_declared_are_refused_with_those_that_are():
    abilities = declaring(d_heads={"cpu": HeadSizes(least=16, most=128, multiple_bytes=16)})

    refused = [
        refusal_of(abilities, d_head=d_head, dtype=dtype)
        for d_head, dtype in [(8, "float32"), (136, "float32"), (18, "float32"), (20, "bfloat16")]
    ]

    allowed = "it takes at least 16, at most 128, a multiple of"
    assert refused == [
        f"attention 'mine' on cpu does not take d_head 8 in float32; {allowed} 4",
        f"attention 'mine' on cpu does not take d_head 136 in float32; {allowed} 4",
        f"attention 'mine' on cpu does not take d_head 18 in float32; {allowed} 4",
        f"attention 'mine' on cpu does not take d_head 20 in bfloat16; {allowed} 8",
    ]


@pytest.mark.parametrize(("d_head", "dtype"), [(16, "bfloat16"), (128, "bfloat16"), (20, "float32")])
def test_head_sizes_that_are_declared_are_taken(d_head: int, dtype: str):
    abilities = declaring(d_heads={"cpu": HeadSizes(least=16, most=128, multiple_bytes=16)})

    abilities.check("mine", asking(d_head=d_head, dtype=dtype), CPU)


def test_head_sizes_hold_for_the_device_that_they_are_declared_for():
    declaring(d_heads={"cuda": HeadSizes(least=16)}).check("mine", asking(d_head=1), CPU)


def test_a_window_that_is_not_declared_is_refused_with_the_masks_that_are():
    text = refusal_of(declaring(masks=WITHOUT_WINDOW), window=4)

    assert text == "attention 'mine' on cpu has no window mask; it has full, causal"


@pytest.mark.parametrize(("is_causal", "window"), [(False, 4), (True, 0), (True, -1)])
def test_a_window_that_is_none_is_a_fault_of_the_request(is_causal: bool, window: int):
    with pytest.raises(SpecError, match=rf"^window is {window} with is_causal={is_causal}; allowed: at least 1"):
        declaring().check("mine", asking(is_causal=is_causal, window=window), CPU)


def test_masks_that_are_aligned_otherwise_are_refused_where_lengths_differ():
    abilities = declaring(needs_square_masks=True)

    text = refusal_of(abilities, is_square=False)

    assert text.startswith("attention 'mine' on cpu aligns its causal mask at the last key: use as many")
    abilities.check("mine", asking(is_causal=False, is_square=False), CPU)


@pytest.mark.parametrize("name", ["flash-attn", "flash-attn-3", "flash-attn-4"])
def test_the_published_packages_align_a_causal_mask_at_the_last_key(name: str):
    text = refusal_of(ABILITIES[name], place=H200, dtype="float16", is_square=False)

    assert "aligns its causal mask at the last key" in text


def test_grouped_heads_are_refused_where_they_are_not_declared():
    text = refusal_of(declaring(has_grouped=False), is_grouped=True)

    assert text == "attention 'mine' on cpu takes no grouped heads: use as many key heads as query heads"


def test_a_backward_is_refused_where_there_is_none():
    text = refusal_of(declaring(forward_only=("cpu",)), needs_backward=True)

    assert text == "attention 'mine' on cpu has no backward: use a forward workload, or another backend"


def test_a_package_that_is_not_installed_is_named_where_that_is_known():
    abilities = declaring(package="no_such_package.inside")

    text = refusal_of(abilities, place=Place(name="cpu", kind="cpu", is_here=True))

    assert text == (
        "attention 'mine' needs the package no_such_package.inside, which is not installed: "
        "install it, or use another backend"
    )
    abilities.check("mine", asking(), CPU)


@pytest.mark.parametrize("name", ["flash-attn", "flash-attn-3", "flash-attn-4"])
def test_the_published_packages_are_refused_where_they_are_missing(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setattr("windtunnel.spec.abilities.find_spec", lambda package: None)

    text = refusal_of(
        ABILITIES[name], name=name, place=Place(name="cuda:0", kind="cuda", is_here=True), dtype="bfloat16"
    )

    assert text.startswith(f"attention '{name}' needs the package flash_attn")


def test_a_device_that_is_too_old_is_refused_with_what_is_needed():
    text = refusal_of(declaring(least_capability=(8, 0)), place=T4, dtype="float16")

    assert text == "attention 'mine' needs compute capability 8.0; cuda:0 has 7.5: use another backend"


def test_nothing_is_refused_for_a_capability_that_is_not_known():
    place = Place(name="Voodoo 3", kind="cuda")

    declaring(least_capability=(8, 0)).check("mine", asking(dtype="float16"), place)
