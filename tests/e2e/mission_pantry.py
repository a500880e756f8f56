"""Tool of the workflow ``recipe-suggestion``: recipes for the ingredients that a text speaks of."""

from __future__ import annotations

from typing import Any

__all__ = ["INGREDIENTS", "RECIPES", "find_recipes"]

INGREDIENTS = {
    "egg": ("鸡蛋", "蛋"),
    "rice": ("米饭", "大米"),
    "tofu": ("豆腐",),
    "tomato": ("番茄", "西红柿"),
}
RECIPES = (
    ("番茄炒蛋 (scrambled eggs with tomato)", {"tomato", "egg"}),
    ("蛋炒饭 (egg fried rice)", {"egg", "rice"}),
    ("番茄豆腐汤 (tomato and tofu soup)", {"tomato", "tofu"}),
)


def find_recipes(ingredients: str) -> dict[str, Any]:
    """Find recipes, those with fewest missing ingredients first.

    Args:
        ingredients: a text that names what is in the kitchen, in Chinese or English
    """
    text = ingredients.lower()
    have = {name for name, others in INGREDIENTS.items() if name in text or any(other in text for other in others)}
    found = [(len(needed - have), title) for title, needed in RECIPES if needed & have]
    return {"ingredients": sorted(have), "recipes": [title for _, title in sorted(found)]}
