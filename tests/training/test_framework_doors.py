"""What is private of DeepSpeed and transformers stands in one module, and is what it was when that was written."""

import inspect
import re
import tomllib

import private_names
import pytest
from packages import PACKAGE

from xlray.training import framework_internals

LIBRARIES = ("deepspeed", "transformers")
BOUNDS = {"deepspeed": ">=0.19.8,<0.20", "transformers": ">=5.17,<6"}  # the doors were read at the lower ones
XLMR = "transformers.models.xlm_roberta.modeling_xlm_roberta"

# Where it is -> its parameters, of what is called; "" of everything else.
DOORS = {
    "transformers:PretrainedConfig._attn_implementation": "",
    f"{XLMR}:XLMRobertaLMHead.__init__": "self, config",
    f"{XLMR}:XLMRobertaLMHead.dense": "",
    f"{XLMR}:XLMRobertaLMHead.layer_norm": "",
    f"{XLMR}:XLMRobertaLMHead.bias": "",
    "transformers:Trainer._get_train_sampler": "self, train_dataset=None",
    "transformers:Trainer._get_eval_sampler": "self, eval_dataset",
    "deepspeed.ops:__compatible_ops__": "",
    "deepspeed.ops.op_builder.cpu.comm:ShareMemCommBuilder.NAME": "",
    "deepspeed.runtime.engine:DeepSpeedEngine.enable_backward_allreduce": "",
    "deepspeed.runtime.engine:DeepSpeedEngine._global_grad_norm": "",
    "deepspeed.runtime.engine:DeepSpeedEngine.clip_fp32_gradients": "self",
    "deepspeed.runtime.utils:clip_grad_norm_": "parameters, max_norm, norm_type=2, mpu=None",
    "deepspeed.runtime.zero.stage_1_and_2:DeepSpeedZeroOptimizer._lazy_init_hp_params_optimizer_state": "self",
    "deepspeed.runtime.zero.stage_1_and_2:DeepSpeedZeroOptimizer._hp_optimizer_states_linked": "",
    "deepspeed.runtime.bf16_optimizer:BF16_Optimizer._update_hp_grad": "self, lp, group_idx, param_idx, clear_lp_grads",
    "deepspeed.runtime.bf16_optimizer:BF16_Optimizer.fp32_groups_gradients": "",
    "deepspeed.runtime.bf16_optimizer:BF16_Optimizer.fp32_groups_has_gradients": "",
}
# Attributes that DeepSpeed sets on parameters: where, and the line.
ON_PARAMETERS = {
    "_hp_grad": ("deepspeed.runtime.bf16_optimizer:BF16_Optimizer", "lp._hp_grad = hp_grad"),
    "ds_shape": ("deepspeed.runtime.zero.partition_parameters:Init", "param.ds_shape = param.shape"),
    "ds_tensor": ("deepspeed.runtime.zero.partition_parameters:Init", "param.ds_tensor = None"),
    "_z3_optimizer": ("deepspeed.runtime.zero.stage3:DeepSpeedZeroOptimizer_Stage3", "p._z3_optimizer = self"),
}


def test_versions_are_bounded_as_far_as_the_doors_need():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    found = {re.split("[<>=]", one)[0]: one for one in project["dependencies"]}
    assert {name: found[name].removeprefix(name) for name in BOUNDS} == BOUNDS


@pytest.mark.parametrize("door", DOORS)
def test_a_door_is_what_it_was(door):
    assert private_names.as_read(door) == DOORS[door], f"{door} has changed"


@pytest.mark.parametrize("name", ON_PARAMETERS)
def test_deepspeed_sets_an_attribute_of_parameters_as_it_did(name):
    place, line = ON_PARAMETERS[name]
    module, _, owner = place.partition(":")
    assert line in inspect.getsource(getattr(__import__(module, fromlist=[owner]), owner)), f"{name} has changed"
    assert name in inspect.getsource(framework_internals)


def test_the_op_that_is_left_out_goes_by_the_name_it_had():
    from deepspeed.ops.op_builder.cpu.comm import ShareMemCommBuilder

    assert ShareMemCommBuilder.NAME == "deepspeed_shm_comm"


def test_clipping_without_zero_is_the_call_that_is_made_in_its_place():
    from deepspeed.runtime.engine import DeepSpeedEngine

    call = "clip_grad_norm_(parameters=self.module.parameters(), max_norm=self.gradient_clipping(), mpu=self.mpu)"
    assert inspect.getsource(DeepSpeedEngine.clip_fp32_gradients).split("\n", 1)[1].strip() == call


def test_the_sum_of_gradients_is_the_one_that_is_made_in_its_place():
    from deepspeed.runtime.bf16_optimizer import BF16_Optimizer

    lines = [line.strip() for line in inspect.getsource(BF16_Optimizer._update_hp_grad).splitlines()]
    assert "hp_grad.data.add_(lp.grad.data.to(hp_grad.dtype).view(hp_grad.shape))" in lines
    start = lines.index('if self.autoep_folding_tp_group is not None and getattr(lp, "ds_grad_is_ready", True):')
    assert lines[start - 3 : start - 1] == ["if lp.grad is None:", "return"]  # the condition is of expert parallelism


def test_no_other_module_uses_what_is_private_of_them():
    found = {
        path.relative_to(PACKAGE).as_posix(): names
        for path in PACKAGE.rglob("*.py")
        if (names := private_names.private_names(path.read_text(), LIBRARIES))
    }
    assert found.keys() <= {"training/framework_internals.py"}
    known = {part for door in DOORS for part in door.replace(":", ".").split(".")} | ON_PARAMETERS.keys()
    used = {name.removeprefix(".") for names in found.values() for name in names}
    assert used and used <= known


@pytest.mark.parametrize(
    "source",
    [
        "import deepspeed\nengine.optimizer._link()",
        "from transformers import Trainer\ntrainer._get_train_sampler(x)",
        "import transformers\ntransformers._x",
    ],
)
def test_a_planted_private_name_is_found(source):
    assert private_names.private_names(source, LIBRARIES)
