// Functions that the workflow of the older Kastra named.
const stock = { sencha: 4, assam: 55, rooibos: 21 };

export const functions = {
  'count-packs': async ({ item }) => ({ item, packs: stock[item.toLowerCase()] ?? 0 }),
  'note-enough': async ({ item }) => `There is enough of ${item}.`,
};
