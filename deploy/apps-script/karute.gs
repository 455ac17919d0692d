/**
 * karute: keeps updated_at true, and writes records so that no row can be shifted, doubled or half there.
 *
 * How to install it: deploy/apps-script/README.md.
 */

const KARUTE = {
  records: 'KnowledgeBase',
  /** The spreadsheet's id, for a project that does not belong to it; empty in the spreadsheet's own project. */
  spreadsheet: '',
  /** Longest text of a cell; a longer one is refused rather than cut. */
  mostCharacters: 50000,
  /** How long a writer waits for another one, in milliseconds. */
  patience: 30000,
};

/** Runs on every edit by hand (a simple trigger): stamps updated_at of the rows that were edited. */
function onEdit(event) {
  const sheet = event.range.getSheet();
  if (sheet.getName() !== KARUTE.records) return;
  const header = headerOf_(sheet);
  const column = header.indexOf('updated_at');
  if (column < 0) return;
  const first = Math.max(event.range.getRow(), 2);
  const last = Math.min(event.range.getLastRow(), sheet.getLastRow());
  // An edit of the stamp itself is somebody's own decision.
  const stampOnly = event.range.getColumn() === column + 1 && event.range.getLastColumn() === column + 1;
  if (last < first || stampOnly) return;
  const stamps = Array.from({ length: last - first + 1 }, () => [now_()]);
  sheet.getRange(first, column + 1, stamps.length, 1).setNumberFormat('@').setValues(stamps);
}

/**
 * Writes one record, given as an object whose keys are header names: a record whose id is there is changed in its place,
 * any other is appended. Cells go to their columns by name, as plain text. Vectors are karute's affair
 * (`karute sync --embed-missing`).
 *
 * @param {Object<string, *>} record with an id; objects and lists become JSON.
 * @return {number} the row's number.
 */
function karuteWrite(record) {
  const id = String(record.id || '').trim();
  if (!id) throw new Error('karute: a record needs an id');
  const lock = lock_();
  try {
    const sheet = book_().getSheetByName(KARUTE.records);
    if (!sheet) throw new Error(`karute: there is no sheet ${KARUTE.records}: run "karute init-sheet"`);
    const header = headerOf_(sheet);
    const unknown = Object.keys(record).filter((name) => !header.includes(name));
    if (unknown.length) throw new Error(`karute: there is no column ${unknown.join(', ')}`);
    if (!header.includes('id')) throw new Error('karute: there is no column id');
    const row = rowOf_(sheet, header.indexOf('id'), id);
    const stamped = (name) => name === 'updated_at' || (name === 'created_at' && !row && !record.created_at);
    const cells = header.map((name) => (stamped(name) ? now_() : name in record ? text_(name, record[name]) : ''));
    const place = row || sheet.getLastRow() + 1;
    if (place > sheet.getMaxRows()) sheet.insertRowsAfter(sheet.getMaxRows(), 100);
    // Text format first, so that nothing becomes a date, a number or a formula on its way in.
    const put = (first, texts) =>
      sheet.getRange(place, first + 1, 1, texts.length).setNumberFormat('@').setValues([texts]);
    if (!row) {
      put(0, cells);
    } else {
      // Of a record that is there only what is given: what somebody else edits beside it, and how he wrote it, stays.
      header.forEach((name, column) => {
        if (stamped(name) || name in record) put(column, [cells[column]]);
      });
    }
    SpreadsheetApp.flush();
    return place;
  } finally {
    lock.releaseLock();
  }
}

/** Removes the record with this id; true if there was one. Its vector is reported by the next sync as an orphan. */
function karuteRemove(id) {
  const lock = lock_();
  try {
    const sheet = book_().getSheetByName(KARUTE.records);
    const row = sheet && rowOf_(sheet, headerOf_(sheet).indexOf('id'), String(id).trim());
    if (row) sheet.deleteRow(row);
    return Boolean(row);
  } finally {
    lock.releaseLock();
  }
}

function book_() {
  const book = KARUTE.spreadsheet ? SpreadsheetApp.openById(KARUTE.spreadsheet) : SpreadsheetApp.getActive();
  if (!book) throw new Error('karute: set KARUTE.spreadsheet to the id of the spreadsheet');
  return book;
}

/** A project without a document has no document lock. */
function lock_() {
  const lock = LockService.getDocumentLock() || LockService.getScriptLock();
  lock.waitLock(KARUTE.patience);
  return lock;
}

function headerOf_(sheet) {
  const width = sheet.getLastColumn();
  return width ? sheet.getRange(1, 1, 1, width).getDisplayValues()[0].map((cell) => cell.trim()) : [];
}

function rowOf_(sheet, column, id) {
  const rows = sheet.getLastRow() - 1;
  if (rows < 1 || column < 0) return 0;
  const ids = sheet.getRange(2, column + 1, rows, 1).getDisplayValues();
  const at = ids.findIndex((cells) => cells[0].trim() === id);
  return at < 0 ? 0 : at + 2;
}

function text_(name, value) {
  if (value === null || value === undefined) return '';
  const text = value instanceof Date ? now_(value) : typeof value === 'object' ? JSON.stringify(value) : String(value);
  if (text.length > KARUTE.mostCharacters) {
    throw new Error(`karute: ${name} has ${text.length} characters, a cell holds ${KARUTE.mostCharacters}`);
  }
  return text;
}

function now_(moment) {
  return Utilities.formatDate(moment || new Date(), 'Asia/Tokyo', 'yyyy-MM-dd HH:mm:ss');
}
