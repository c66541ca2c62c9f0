"""The ranks a model really has, read from its tensors without our own code."""

from peft import PeftModel


def ranks_of(model: PeftModel) -> dict[str, int]:
    """Full module name -> rows of its factor A."""
    ending = ".lora_A.default.weight"
    state = model.get_base_model().state_dict()
    return {name.removesuffix(ending): len(factor) for name, factor in state.items() if name.endswith(ending)}
