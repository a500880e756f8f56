"""A tool for agents: find recipes by what is in the kitchen. Plain Python, nothing of Kastra in it."""

from __future__ import annotations

from typing import Any

__all__ = ["RECIPES", "find_recipes"]

# Name, ingredients by their English names, how it is made.
RECIPES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("番茄炒蛋 (scrambled eggs with tomato)", ("tomato", "egg"), "先炒蛋，再炒番茄，合炒加盐。"),
    ("番茄蛋花汤 (tomato egg drop soup)", ("tomato", "egg", "scallion"), "番茄煮汤，淋入蛋液，撒葱花。"),
    ("蛋炒饭 (egg fried rice)", ("egg", "rice", "scallion"), "蛋液炒散，下米饭炒匀，加葱花。"),
    ("青椒土豆丝 (potato with green pepper)", ("potato", "pepper"), "土豆切丝过水，与青椒大火快炒。"),
    ("土豆烧牛肉 (beef stewed with potato)", ("beef", "potato", "carrot"), "牛肉炖软，加土豆和胡萝卜再炖半小时。"),
    ("番茄牛腩 (beef brisket with tomato)", ("beef", "tomato"), "牛腩焯水，与番茄炖一个半小时。"),
    ("麻婆豆腐 (mapo tofu)", ("tofu", "pork"), "肉末炒香，加豆瓣酱和豆腐，煮五分钟。"),
    ("家常豆腐 (home-style tofu)", ("tofu", "pepper"), "豆腐煎黄，与青椒加酱油同炒。"),
    ("宫保鸡丁 (kung pao chicken)", ("chicken", "peanut", "pepper"), "鸡丁滑炒，加干辣椒和花生。"),
    ("咖喱鸡 (chicken curry)", ("chicken", "potato", "carrot"), "鸡肉炒香，加土豆、胡萝卜和咖喱煮软。"),
    ("清炒西兰花 (stir-fried broccoli)", ("broccoli",), "西兰花焯水，蒜末爆香快炒。"),
    ("胡萝卜炒肉丝 (pork with carrot)", ("pork", "carrot"), "肉丝滑炒，加胡萝卜丝炒软。"),
)

_NAMES: dict[str, tuple[str, ...]] = {
    "beef": ("牛肉", "牛腩"),
    "broccoli": ("西兰花", "西蓝花"),
    "carrot": ("胡萝卜", "红萝卜"),
    "chicken": ("鸡肉", "鸡胸", "鸡腿"),
    "egg": ("鸡蛋", "蛋"),
    "peanut": ("花生",),
    "pepper": ("青椒", "辣椒", "甜椒"),
    "pork": ("猪肉", "肉末", "肉丝"),
    "potato": ("土豆", "马铃薯"),
    "rice": ("米饭", "大米"),
    "scallion": ("葱", "spring onion"),
    "tofu": ("豆腐",),
    "tomato": ("番茄", "西红柿"),
}


def find_recipes(ingredients: list[str] | str) -> list[dict[str, Any]]:
    """Find up to three recipes, those that use most of the given ingredients first.

    Args:
        ingredients: 现有的食材，中文或英文; what is in the kitchen, in Chinese or English. Example: ["鸡蛋", "番茄"]
    """
    # A text that speaks of them will do: the workflow passes on what the agent said.
    texts = [ingredients] if isinstance(ingredients, str) else ingredients
    have = {name for text in texts for name in _known(text)}
    found = []
    for title, needed, steps in RECIPES:
        used = have.intersection(needed)
        if used:
            missing = [name for name in needed if name not in have]
            found.append((-len(used), len(missing), {"recipe": title, "missing": missing, "steps": steps}))
    return [recipe for _, _, recipe in sorted(found, key=lambda entry: entry[:2])[:3]]


def _known(given: str) -> list[str]:
    """Names of ingredients that a text speaks of, whatever language it is in."""
    text = given.lower()
    return [name for name, others in _NAMES.items() if name in text or any(other in text for other in others)]
