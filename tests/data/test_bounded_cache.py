import pickle

import pytest

from vlp.data.bounded_cache import BoundedCache


def test_keeps_the_last_used_and_never_more_than_its_limit():
    computed = []

    def square(x: int) -> int:
        computed.append(x)
        return x * x

    cache: BoundedCache[int] = BoundedCache(2)
    answers = [cache.get(x, lambda x=x: square(x)) for x in (1, 2, 1, 3, 1, 2)]
    assert answers == [1, 4, 1, 9, 1, 4]
    assert computed == [1, 2, 3, 2]  # 3 pushed out 2, which was not asked for as long
    assert len(cache) == 2


def test_a_limit_of_zero_keeps_nothing():
    cache: BoundedCache[int] = BoundedCache(0)
    assert cache.get("key", lambda: 1) == 1
    assert cache.get("key", lambda: 2) == 2


def test_travels_empty_to_another_process():
    cache: BoundedCache[int] = BoundedCache(3)
    cache.get("key", lambda: 1)
    copy = pickle.loads(pickle.dumps(cache))
    assert (len(cache), len(copy), copy.limit) == (1, 0, 3)


def test_refuses_a_negative_limit():
    with pytest.raises(ValueError) as error:
        BoundedCache(-1)
    assert str(error.value) == "a cache keeps 0 or more values, got cache=-1"
