"""The method as a whole: what learns, what follows, what is minimised."""

import pytest
import torch

from stellarfm.encoders.resnet import ResNet18
from stellarfm.encoders.vit import VisionTransformerEncoder
from stellarfm.exceptions import PretrainingError
from stellarfm.pretraining.methods.dinov2 import DinoV2


class Micro(VisionTransformerEncoder):
    embed_dim = 24
    depth = 2
    heads = 3


SMALL = {"prototypes": 16, "hidden": 16, "bottleneck": 8, "global_size": 16, "local_size": 8, "local_crops": 3}


def method(**options) -> DinoV2:
    return DinoV2(**{**SMALL, **options})


def built(method: DinoV2, **options):
    torch.manual_seed(0)
    return method.build(Micro(image_size=32, **options), image_size=32, total_steps=10).train()


def views(method: DinoV2, seed: int = 0, count: int = 4):
    generator = torch.Generator().manual_seed(seed)
    return method.views(torch.rand(count, 3, 32, 32, generator=generator), generator=generator)


def test_shapes_of_views():
    m = method()
    built(m)
    large, small, mask, hidden = views(m)
    assert large.shape == (8, 3, 16, 16)
    assert small.shape == (12, 3, 8, 8)
    assert mask.shape == (8, 2, 2)
    assert torch.equal(mask.flatten()[hidden], torch.ones(int(mask.sum()), dtype=torch.bool))


def test_views_are_a_function_of_the_generator():
    m = method()
    built(m)
    for first, second in zip(views(m), views(m), strict=True):
        assert torch.equal(first, second)


def test_the_teacher_begins_as_the_student_and_gets_no_gradient():
    m = method()
    module = built(m)
    for teacher, student in zip(module.teacher.parameters(), module.student.parameters(), strict=True):
        assert torch.equal(teacher, student)
    m.losses(module, views(m), step=0)["loss"].backward()
    assert all(p.grad is None for p in module.teacher.parameters())
    assert all(p.grad is not None for p in module.student.parameters())


def test_the_teacher_is_a_moving_average():
    m = method(momentum=(0.9, 1.0))
    module = built(m)
    before = [p.clone() for p in module.teacher.parameters()]
    with torch.no_grad():
        for p in module.student.parameters():
            p.add_(1.0)
    m.after_step(module, step=0)
    for old, new in zip(before, module.teacher.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.1)
    m.after_step(module, step=10)
    for old, new in zip(before, module.teacher.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.1)


def test_the_teacher_never_drops_a_path():
    module = built(method(), drop_path_rate=0.5)
    assert module.student.training
    assert not module.teacher.training


def test_the_sum_of_the_parts():
    m = method(dino_weight=2.0, ibot_weight=0.5, koleo_weight=0.3)
    module = built(m)
    losses = m.losses(module, views(m), step=0)
    expected = 2.0 * losses["dino"] + 0.5 * losses["ibot"] + 0.3 * losses["koleo"]
    torch.testing.assert_close(losses["loss"], expected)


def test_koleo_is_the_sum_over_the_global_crops():
    m = method()
    module = built(m)
    made = views(m)
    tokens = module.student.encode(made.large, mask=made.mask).image
    expected = 0.0
    for view in torch.nn.functional.normalize(tokens, dim=-1, eps=1e-8).chunk(2):  # as in ssl_meta_arch.py
        similarity = (view @ view.T).fill_diagonal_(-1.0)
        distance = torch.nn.functional.pairwise_distance(view, view[similarity.argmax(dim=1)], eps=1e-8)
        expected = expected - torch.log(distance + 1e-8).mean()
    torch.testing.assert_close(m.losses(module, made, step=0)["koleo"], expected)


def test_dino_is_scaled_as_in_the_official_code():
    m = method()
    module = built(m)
    made = views(m)
    targets = m._targets(module, made, 0)[0]
    logits = m._logits(module.student, made)[0] / 0.1
    terms = (2 - 1) * 2 + m.local_crops * 2
    local = -sum((t * s.log_softmax(-1)).sum(-1).mean() for s in logits[2:] for t in targets) / terms
    both = -(targets.flip(0) * logits[:2].log_softmax(-1)).sum(-1).mean() * 2 / terms
    torch.testing.assert_close(m.losses(module, made, step=0)["dino"], local + both)


def test_a_switched_off_part_needs_nothing():
    m = method(ibot_weight=0.0, local_crops=0)
    module = built(m)
    made = views(m)
    assert not made.mask.any()
    assert "ibot" not in m.losses(module, made, step=0)


def test_the_student_alone_sees_the_masks():
    m = method(mask_ratio=(1.0, 1.0), masked_images=1.0)
    module = built(m)
    made = views(m)
    other = made._replace(large=torch.rand_like(made.large))
    student = [module.student.encode(v.large, mask=v.mask).image for v in (made, other)]
    torch.testing.assert_close(*student)
    assert not torch.allclose(*(m._targets(module, v, 0)[0] for v in (made, other)))


def test_training_lowers_the_loss():
    m = method(frozen_prototypes=0.0)
    module = built(m)
    optimiser = torch.optim.AdamW(m.parameter_groups(module), lr=2e-3)
    made, values = views(m), []
    for _ in range(15):
        loss = m.losses(module, made, step=0)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        values.append(loss.item())
    assert values[-1] < values[0] - 0.1


def test_parameter_groups_hold_every_learning_parameter_once():
    m = method()
    module = built(m)
    decaying, free = (group["params"] for group in m.parameter_groups(module))
    assert len({id(p) for p in [*decaying, *free]}) == len(decaying) + len(free)
    assert {id(p) for p in [*decaying, *free]} == {id(p) for p in module.parameters() if p.requires_grad}
    encoder = module.student.encoder
    tokens = (encoder.mask_token, encoder.backbone.cls_token, encoder.backbone.pos_embed)
    assert all(any(p is q for q in decaying) for p in tokens)
    assert all(any(p is q for q in free) for n, p in encoder.named_parameters() if n.endswith("bias") or ".norm" in n)
    assert any(module.student.class_head.prototypes is q for q in decaying)


@pytest.mark.parametrize("shared", [False, True])
def test_gradients_are_clipped_part_by_part(shared):
    m = method(clip=0.01, shared_head=shared)
    module = built(m)
    m.losses(module, views(m), step=0)["loss"].backward()
    m.before_optimizer(module, step=9)
    for part in (module.student.encoder, module.student.class_head, module.student.patch_head):
        norm = torch.stack([p.grad.norm() for p in part.parameters()]).norm()
        assert float(norm) <= 0.01 + 1e-6
    assert (module.student.class_head is module.student.patch_head) == shared
    assert (module.teacher.class_head is module.teacher.patch_head) == shared


def test_prototypes_are_held_at_the_start():
    m = method(frozen_prototypes=0.3)
    module = built(m)
    m.losses(module, views(m), step=0)["loss"].backward()
    m.before_optimizer(module, step=3)
    assert all(p.grad is not None for p in module.student.class_head.last_layer())
    m.before_optimizer(module, step=2)
    assert all(p.grad is None for p in module.student.class_head.last_layer())


def test_moving_mean_is_saved_with_the_module():
    m = method(centring="mean")
    module = built(m)
    m.losses(module, views(m), step=0)
    state = module.state_dict()
    assert state["class_centring.centre"].abs().sum() > 0
    assert state["patch_centring.centre"].abs().sum() > 0


def test_the_teacher_temperature_warms_up():
    m = method(teacher_temperature=(0.02, 0.5), temperature_warmup=1.0)
    module = built(m)
    sharp, soft = (m.losses(module, views(m), step=step)["entropy"] for step in (0, 10))
    assert soft > sharp


def test_a_network_that_cannot_hide_patches():
    with pytest.raises(PretrainingError, match="ResNet18 cannot hide patches; set ibot_weight = 0"):
        method().build(ResNet18(), image_size=32, total_steps=10)
    m = method(ibot_weight=0.0, local_size=16)
    module = m.build(ResNet18(), image_size=32, total_steps=10).train()
    m.losses(module, views(m), step=0)["loss"].backward()
    student, teacher = (b.encoder.backbone.bn1.running_mean for b in (module.student, module.teacher))
    expected = torch.lerp(teacher, student, 1 - 0.992)
    m.after_step(module, step=0)
    assert not torch.equal(teacher, student)
    torch.testing.assert_close(teacher, expected, rtol=1e-3, atol=1e-6)


def test_batch_norms_of_the_teacher_look_at_the_batch():
    """Their running statistics begin at 0 and 1, and would scale its features unlike the student's."""
    m = method(ibot_weight=0.0, local_size=16)
    module = m.build(ResNet18(), image_size=32, total_steps=10).train()
    large = views(m).large
    with torch.no_grad():
        student, teacher = (branch.encode(large).image for branch in (module.student, module.teacher))
    torch.testing.assert_close(teacher, student)
    norms = [branch.encoder.backbone.bn1.running_mean for branch in (module.student, module.teacher)]
    torch.testing.assert_close(*norms)
    assert norms[1].any()
    assert not module.teacher.training
    module.eval()
    with torch.no_grad():
        module.teacher.encode(large)
    torch.testing.assert_close(norms[1], norms[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"global_size": 20}, "crops of 20 pixels do not fit Micro; expected a multiple of 8"),
        ({"global_size": 128}, "global_size is 128 for images of 32 pixels; expected at most 64"),
        ({"centring": "none"}, "centring is 'none'; expected 'sinkhorn' or 'mean'"),
        ({"mask_ratio": [0.1]}, r"mask_ratio is \[0.1\]; expected two numbers"),
        ({"rotation": "half"}, "rotation is 'half'"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(PretrainingError, match=message):
        built(method(**options))
