// The script of the spreadsheet, run against a sheet of plain arrays:  node tests/google/apps_script.mjs
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createContext, runInContext } from 'node:vm';

const code = readFileSync(new URL('../../deploy/apps-script/karute.gs', import.meta.url), 'utf8');

function sheetOf(name, rows) {
  const range = (top, left, height = 1, width = 1) => ({
    getSheet: () => sheet,
    getRow: () => top,
    getLastRow: () => top + height - 1,
    getColumn: () => left,
    getLastColumn: () => left + width - 1,
    getDisplayValues: () => Array.from({ length: height }, (_, row) => Array.from({ length: width }, (_, column) => String(sheet.rows[top - 1 + row]?.[left - 1 + column] ?? ''))),
    setNumberFormat(format) {
      assert.equal(format, '@');
      return this;
    },
    setValues(values) {
      assert.equal(values.length, height);
      values.forEach((cells, row) => {
        assert.equal(cells.length, width);
        const target = (sheet.rows[top - 1 + row] ??= []);
        cells.forEach((cell, column) => (target[left - 1 + column] = cell));
      });
      return this;
    },
  });
  const sheet = {
    rows,
    inserted: 0,
    getName: () => name,
    getLastRow: () => sheet.rows.length,
    getLastColumn: () => sheet.rows[0]?.length ?? 0,
    getMaxRows: () => 4 + sheet.inserted,
    insertRowsAfter: (_, count) => (sheet.inserted += count),
    deleteRow: (row) => sheet.rows.splice(row - 1, 1),
    getRange: range,
  };
  return sheet;
}

const header = ['id', 'title', 'content', 'tags', 'created_at', 'updated_at'];
const sheet = sheetOf('KnowledgeBase', [header, ['KB_1', 'a', 'b', '', 't0', 't0'], ['KB_2', 'c', 'd', '', 't0', 't0']]);
let locked = 0;
const context = createContext({
  SpreadsheetApp: { getActive: () => ({ getSheetByName: (name) => (name === 'KnowledgeBase' ? sheet : null) }), flush() {} },
  LockService: { getDocumentLock: () => ({ waitLock: () => (locked += 1), releaseLock: () => (locked -= 1) }) },
  Utilities: { formatDate: (_, zone) => (assert.equal(zone, 'Asia/Tokyo'), 'NOW') },
});
runInContext(code, context);
const call = (text) => runInContext(text, context);

assert.equal(call("karuteWrite({ id: 'KB_3', title: '=1+1', content: '体温', tags: ['x'] })"), 4);
assert.deepEqual(sheet.rows[3], ['KB_3', '=1+1', '体温', '["x"]', 'NOW', 'NOW']);
assert.equal(call("karuteWrite({ id: ' KB_1 ', content: '新しい' })"), 2);
assert.deepEqual(sheet.rows[1], [' KB_1 ', 'a', '新しい', '', 't0', 'NOW']);
assert.equal(call("karuteWrite({ id: 'KB_4' })"), 5);
assert.equal(sheet.inserted, 100, 'the grid grows when it is full');
for (const wrong of ["{ title: 'no id' }", "{ id: 'x', nothing: 1 }", "{ id: 'x', content: 'あ'.repeat(50001) }"]) {
  assert.throws(() => call(`karuteWrite(${wrong})`), /karute: /, wrong);
}
assert.equal(sheet.rows.length, 5, 'what is refused leaves no row');
assert.equal(call("karuteRemove('KB_2')"), true);
assert.equal(call("karuteRemove('KB_2')"), false);
assert.equal(locked, 0, 'every lock is given back');

context.edited = { range: sheet.getRange(2, 3, 2, 1) };
call('onEdit(edited)');
assert.deepEqual(sheet.rows.slice(1, 3).map((row) => row[5]), ['NOW', 'NOW']);
sheet.rows[1][5] = 'mine';
context.edited = { range: sheet.getRange(2, 6) };
call('onEdit(edited)');
context.edited = { range: sheet.getRange(1, 1, 1, 6) };
call('onEdit(edited)');
assert.equal(sheet.rows[1][5], 'mine');
context.edited = { range: sheetOf('Other', [['updated_at'], ['x']]).getRange(2, 1) };
call('onEdit(edited)');
console.log('the script of the spreadsheet does what it says');
