// SPDX-License-Identifier: GPL-2.0-or-later
//! Makes VHD and VHDX files byte by byte from their specifications, apart from the code under test, with whatever
//! sizes a test wants. A file is a length and the parts of it that are not zeros.

use uuid::Uuid;

/// A file to be: its length, and what is in it where.
#[derive(Clone, Debug, Default)]
pub struct Image {
    pub len: u64,
    pub parts: Vec<(u64, Vec<u8>)>,
}

impl Image {
    pub fn put(&mut self, offset: u64, data: impl Into<Vec<u8>>) {
        let data = data.into();
        self.len = self.len.max(offset + data.len() as u64);
        self.parts.push((offset, data));
    }

    /// The whole file, when it is small.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len as usize];
        for (offset, data) in &self.parts {
            bytes[*offset as usize..][..data.len()].copy_from_slice(data);
        }
        bytes
    }
}

fn utf16_le(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn utf16_be(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// Seals a VHD footer (place 64) or header (place 36).
pub fn seal_vhd(bytes: &mut [u8], place: usize) {
    bytes[place..place + 4].fill(0);
    let sum: u32 = bytes
        .iter()
        .fold(0, |sum, &byte| sum.wrapping_add(u32::from(byte)));
    bytes[place..place + 4].copy_from_slice(&(!sum).to_be_bytes());
}

pub fn vhd_footer(size: u64, disk_type: u32, id: [u8; 16]) -> Vec<u8> {
    let mut footer = vec![0; 512];
    footer[..8].copy_from_slice(b"conectix");
    footer[11] = 2;
    footer[13] = 1;
    let data_offset = if disk_type == 2 { u64::MAX } else { 512 };
    footer[16..24].copy_from_slice(&data_offset.to_be_bytes());
    footer[28..32].copy_from_slice(b"win ");
    footer[32..36].copy_from_slice(&0x000a_0000_u32.to_be_bytes());
    footer[36..40].copy_from_slice(b"Wi2k");
    footer[40..48].copy_from_slice(&size.to_be_bytes());
    footer[48..56].copy_from_slice(&size.to_be_bytes());
    footer[60..64].copy_from_slice(&disk_type.to_be_bytes());
    footer[68..84].copy_from_slice(&id);
    seal_vhd(&mut footer, 64);
    footer
}

/// An empty dynamic VHD, or an empty child of a parent with the id and name.
pub fn vhd(size: u64, block_size: u32, id: [u8; 16], parent: Option<([u8; 16], &str)>) -> Image {
    let footer = vhd_footer(size, if parent.is_some() { 4 } else { 3 }, id);
    let entries = size.div_ceil(u64::from(block_size));
    let bat_len = (entries * 4).next_multiple_of(512);
    let mut header = vec![0; 1024];
    header[..8].copy_from_slice(b"cxsparse");
    header[8..16].fill(0xff);
    header[16..24].copy_from_slice(&1536_u64.to_be_bytes());
    header[24..28].copy_from_slice(&0x0001_0000_u32.to_be_bytes());
    header[28..32].copy_from_slice(&(entries as u32).to_be_bytes());
    header[32..36].copy_from_slice(&block_size.to_be_bytes());
    let mut image = Image::default();
    let mut end = 1536 + bat_len;
    if let Some((parent_id, name)) = parent {
        header[40..56].copy_from_slice(&parent_id);
        let wide = utf16_be(name);
        header[64..64 + wide.len()].copy_from_slice(&wide);
        let path = utf16_le(&format!(".\\{name}"));
        let locator = &mut header[576..600];
        locator[..4].copy_from_slice(b"W2ru");
        locator[4..8].copy_from_slice(&512_u32.to_be_bytes());
        locator[8..12].copy_from_slice(&(path.len() as u32).to_be_bytes());
        locator[16..24].copy_from_slice(&end.to_be_bytes());
        image.put(end, path);
        end += 512;
    }
    seal_vhd(&mut header, 36);
    image.put(0, footer.clone());
    image.put(512, header);
    image.put(1536, vec![0xff; bat_len as usize]);
    image.put(end, footer);
    image
}

pub const MIB: u64 = 1 << 20;

/// What a VHDX is to be.
#[derive(Clone, Debug)]
pub struct Vhdx {
    pub size: u64,
    pub block_size: u32,
    pub sector_size: u32,
    pub fixed: bool,
    pub data_write_guid: Uuid,
    pub disk_id: Uuid,
    /// The parent's data write GUID, and its relative path.
    pub parent: Option<(Uuid, String)>,
    /// BAT entries that are not 0: index and value.
    pub bat: Vec<(u64, u64)>,
    /// Metadata items of one's own: GUID, flags, content.
    pub items: Vec<(Uuid, u32, Vec<u8>)>,
    /// Regions of one's own: GUID, offset, length, flags.
    pub regions: Vec<(Uuid, u64, u32, u32)>,
    pub log_guid: Uuid,
}

/// Where [`Vhdx::build`] puts things.
pub const LOG: u64 = MIB;
pub const METADATA: u64 = 2 * MIB;
pub const BAT: u64 = 3 * MIB;

impl Vhdx {
    pub fn new(size: u64, block_size: u32) -> Vhdx {
        Vhdx {
            size,
            block_size,
            sector_size: 512,
            fixed: false,
            data_write_guid: Uuid::from_u128(0x1111_2222_3333_4444_5555_6666_7777_8888),
            disk_id: Uuid::from_u128(7),
            parent: None,
            bat: Vec::new(),
            items: Vec::new(),
            regions: Vec::new(),
            log_guid: Uuid::nil(),
        }
    }

    pub fn chunk_ratio(&self) -> u64 {
        (1 << 23) * u64::from(self.sector_size) / u64::from(self.block_size)
    }

    /// Bytes of the BAT region.
    pub fn bat_len(&self) -> u64 {
        let chunks = self
            .size
            .div_ceil(u64::from(self.block_size))
            .div_ceil(self.chunk_ratio());
        (chunks * (self.chunk_ratio() + 1) * 8).next_multiple_of(MIB)
    }

    pub fn build(&self) -> Image {
        let mut image = Image::default();
        let mut name = b"vhdxfile".to_vec();
        name.extend(utf16_le("coldfix tests"));
        image.put(0, name);
        for (offset, sequence) in [(64 << 10, 3_u64), (128 << 10, 4)] {
            let mut header = vec![0; 4096];
            header[..4].copy_from_slice(b"head");
            header[8..16].copy_from_slice(&sequence.to_le_bytes());
            header[16..32].copy_from_slice(&Uuid::from_u128(99).to_bytes_le());
            header[32..48].copy_from_slice(&self.data_write_guid.to_bytes_le());
            header[48..64].copy_from_slice(&self.log_guid.to_bytes_le());
            header[66] = 1;
            header[68..72].copy_from_slice(&(MIB as u32).to_le_bytes());
            header[72..80].copy_from_slice(&LOG.to_le_bytes());
            seal_vhdx(&mut header);
            image.put(offset, header);
        }
        let guid = |text: &str| Uuid::parse_str(text).unwrap();
        let bat_len = self.bat_len();
        let mut regions = vec![
            (
                guid("2dc27766-f623-4200-9d64-115e9bfd4a08"),
                BAT,
                bat_len as u32,
                1,
            ),
            (
                guid("8b7ca206-4790-4b9a-b8fe-575f050f886e"),
                METADATA,
                MIB as u32,
                1,
            ),
        ];
        regions.extend(self.regions.iter().copied());
        let mut table = vec![0; 64 << 10];
        table[..4].copy_from_slice(b"regi");
        table[8..12].copy_from_slice(&(regions.len() as u32).to_le_bytes());
        for (index, (guid, offset, length, flags)) in regions.iter().enumerate() {
            let entry = &mut table[16 + 32 * index..][..32];
            entry[..16].copy_from_slice(&guid.to_bytes_le());
            entry[16..24].copy_from_slice(&offset.to_le_bytes());
            entry[24..28].copy_from_slice(&length.to_le_bytes());
            entry[28..32].copy_from_slice(&flags.to_le_bytes());
        }
        seal_vhdx(&mut table);
        image.put(192 << 10, table.clone());
        image.put(256 << 10, table);

        let flags = u32::from(self.fixed) | if self.parent.is_some() { 2 } else { 0 };
        let parameters = [self.block_size.to_le_bytes(), flags.to_le_bytes()].concat();
        let mut items = vec![
            (guid("caa16737-fa36-4d43-b3b6-33f0aa44e76b"), 4, parameters),
            (
                guid("2fa54224-cd1b-4876-b211-5dbed83bf4b8"),
                6,
                self.size.to_le_bytes().to_vec(),
            ),
            (
                guid("8141bf1d-a96f-4709-ba47-f233a8faab5f"),
                6,
                self.sector_size.to_le_bytes().to_vec(),
            ),
            (
                guid("cda348c7-445d-4471-9cc9-e9885251c556"),
                6,
                4096_u32.to_le_bytes().to_vec(),
            ),
            (
                guid("beca12ab-b2e6-4523-93ef-c309e000c746"),
                6,
                self.disk_id.to_bytes_le().to_vec(),
            ),
        ];
        if let Some((linkage, path)) = &self.parent {
            let linkage = format!("{{{linkage}}}");
            let locator = locator(&[("parent_linkage", &linkage), ("relative_path", path)]);
            items.push((guid("a8d35f2d-b30b-454d-abf7-d3d84834ab0c"), 4, locator));
        }
        items.extend(self.items.iter().cloned());
        let mut table = vec![0; 64 << 10];
        table[..8].copy_from_slice(b"metadata");
        table[10..12].copy_from_slice(&(items.len() as u16).to_le_bytes());
        let mut at = 64 << 10;
        for (index, (guid, flags, content)) in items.iter().enumerate() {
            let entry = &mut table[32 + 32 * index..][..32];
            entry[..16].copy_from_slice(&guid.to_bytes_le());
            entry[16..20].copy_from_slice(&(at as u32).to_le_bytes());
            entry[20..24].copy_from_slice(&(content.len() as u32).to_le_bytes());
            entry[24..28].copy_from_slice(&flags.to_le_bytes());
            image.put(METADATA + at, content.clone());
            at += content.len() as u64;
        }
        image.put(METADATA, table);
        for (index, entry) in &self.bat {
            image.put(BAT + index * 8, entry.to_le_bytes());
        }
        image.len = image.len.max(BAT + bat_len);
        image
    }
}

/// The CRC-32C of a header, region table or log entry.
pub fn seal_vhdx(bytes: &mut [u8]) {
    bytes[4..8].fill(0);
    let crc = crc32c::crc32c(bytes);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// A parent locator with these keys and values.
pub fn locator(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut head = Uuid::parse_str("b04aefb7-d19e-4a81-b789-25b8e9445913")
        .unwrap()
        .to_bytes_le()
        .to_vec();
    head.extend([0, 0]);
    head.extend((entries.len() as u16).to_le_bytes());
    let mut text = Vec::new();
    let start = 20 + 12 * entries.len();
    for (key, value) in entries {
        let (key, value) = (utf16_le(key), utf16_le(value));
        head.extend(((start + text.len()) as u32).to_le_bytes());
        head.extend(((start + text.len() + key.len()) as u32).to_le_bytes());
        head.extend((key.len() as u16).to_le_bytes());
        head.extend((value.len() as u16).to_le_bytes());
        text.extend(key);
        text.extend(value);
    }
    head.extend(text);
    head
}

/// A BAT entry.
pub fn entry(state: u64, mib: u64) -> u64 {
    mib << 20 | state
}

/// What a log entry does.
#[derive(Clone, Debug)]
pub enum Step {
    /// 4096 bytes at a file offset.
    Data(u64, Vec<u8>),
    /// Zeros: file offset and length.
    Zero(u64, u64),
}

/// A log entry.
pub fn log_entry(guid: Uuid, sequence: u64, tail: u32, file_len: u64, steps: &[Step]) -> Vec<u8> {
    let mut head = vec![0; 64];
    head[..4].copy_from_slice(b"loge");
    head[12..16].copy_from_slice(&tail.to_le_bytes());
    head[16..24].copy_from_slice(&sequence.to_le_bytes());
    head[24..28].copy_from_slice(&(steps.len() as u32).to_le_bytes());
    head[32..48].copy_from_slice(&guid.to_bytes_le());
    head[48..56].copy_from_slice(&file_len.to_le_bytes());
    head[56..64].copy_from_slice(&file_len.to_le_bytes());
    let mut sectors = Vec::new();
    for step in steps {
        let mut descriptor = vec![0; 32];
        match step {
            Step::Data(offset, data) => {
                assert_eq!(data.len(), 4096);
                descriptor[..4].copy_from_slice(b"desc");
                descriptor[4..8].copy_from_slice(&data[4092..]);
                descriptor[8..16].copy_from_slice(&data[..8]);
                descriptor[16..24].copy_from_slice(&offset.to_le_bytes());
                let mut sector = data.clone();
                sector[..4].copy_from_slice(b"data");
                sector[4..8].copy_from_slice(&((sequence >> 32) as u32).to_le_bytes());
                sector[4092..].copy_from_slice(&(sequence as u32).to_le_bytes());
                sectors.extend(sector);
            }
            Step::Zero(offset, length) => {
                descriptor[..4].copy_from_slice(b"zero");
                descriptor[8..16].copy_from_slice(&length.to_le_bytes());
                descriptor[16..24].copy_from_slice(&offset.to_le_bytes());
            }
        }
        descriptor[24..32].copy_from_slice(&sequence.to_le_bytes());
        head.extend(descriptor);
    }
    head.resize(head.len().next_multiple_of(4096), 0);
    head.extend(sectors);
    let len = head.len() as u32;
    head[8..12].copy_from_slice(&len.to_le_bytes());
    seal_vhdx(&mut head);
    head
}
