// The tool as the older Kastra called it.
import { functions } from '../functions.js';

export default functions['count-packs'];
