import torch

from circuitune.models.encoding import EncodedPairs
from circuitune.training.rows import IGNORED, answer_rows


def test_the_last_prompt_token_predicts_the_answer_and_nothing_else_has_a_label():
    clean = torch.tensor([[5, 6, 7], [8, 9, 10]])
    rows = answer_rows(EncodedPairs(clean, clean, torch.tensor([20, 21])))
    assert rows.tokens.tolist() == [[5, 6, 7], [8, 9, 10]]
    assert rows.labels.tolist() == [[IGNORED, IGNORED, 20], [IGNORED, IGNORED, 21]]


def test_answers_of_several_tokens_are_forced():
    clean = torch.tensor([[5, 6, 7], [8, 9, 10]])
    rows = answer_rows(EncodedPairs(clean, clean, torch.tensor([[20, 21, 22], [30, IGNORED, IGNORED]])))
    assert rows.lengths == (5, 3)
    assert rows.tokens[0].tolist() == [5, 6, 7, 20, 21]
    assert rows.labels[0].tolist() == [IGNORED, IGNORED, 20, 21, 22]
    assert rows.labels[1].tolist() == [IGNORED, IGNORED, 30, IGNORED, IGNORED]


def test_padding_on_either_side_is_dropped():
    left = torch.tensor([[0, 5, 6], [7, 8, 9]])
    right = torch.tensor([[5, 6, 0], [7, 8, 9]])
    answer = torch.tensor([20, 21])
    from_left = answer_rows(EncodedPairs(left, left, answer, None, torch.tensor([[0, 1, 1], [1, 1, 1]]).bool()))
    from_right = answer_rows(EncodedPairs(right, right, answer, None, torch.tensor([[1, 1, 0], [1, 1, 1]]).bool()))
    assert torch.equal(from_left.tokens, from_right.tokens)
    assert torch.equal(from_left.labels, from_right.labels)
    assert from_left.lengths == from_right.lengths == (2, 3)


def test_a_batch_is_cut_to_its_longest_row_and_masked_only_if_ragged():
    clean = torch.tensor([[5, 6, 0, 0], [7, 8, 0, 0], [9, 10, 11, 12]])
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]]).bool()
    rows = answer_rows(EncodedPairs(clean, clean, torch.tensor([20, 21, 22]), None, mask))
    even = rows.batch([1, 0])
    assert even["input_ids"].tolist() == [[7, 8], [5, 6]]
    assert even["positions"].tolist() == [1]
    assert even["labels"].tolist() == [[21], [20]]
    assert "attention_mask" not in even
    ragged = rows.batch([0, 2])
    assert ragged["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert ragged["positions"].tolist() == [1, 3]
    assert ragged["labels"].tolist() == [[20, IGNORED], [IGNORED, 22]]
